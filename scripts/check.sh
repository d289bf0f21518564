#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Style and consistency, one KTAP line for each check.
#
#	check.sh KDIR [NAME...]	all checks, or these; KDIR is the kernel that the module
#				in this directory, or in build/, was built for; or, for
#				some, only its source
#	check.sh list [build]	the names of all checks, or of those that need KDIR
# shellcheck disable=SC2317 # the checks are called by their names
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/build/kvm-copy.sh"

# Those that read the project's sources only, and those that need a kernel or a module.
of_sources=(rustfmt_kernel rustfmt_tools clippy_tools shellcheck_all build_refuses_ibt one_contract lines_added layers
	cargo_installs)
of_build=(clippy_kernel checkpatch git_am patch_knows_patched patch_is_all_or_nothing config_mends option_off
	reasons msrs record modinfo_complete)
# Those that belong to a kernel, be it another than 6.1; and those for which it must be
# configured and built here.
of_kernel=(checkpatch git_am patch_knows_patched reasons msrs record modinfo_complete)
of_built_kernel=(config_mends option_off)
if [ "${1:-}" = list ]; then
	[ "${2:-}" = build ] || printf 'check.%s\n' "${of_sources[@]}"
	printf 'check.%s\n' "${of_build[@]}"
	exit
fi

kdir=$(realpath -m "${1:-$build/kernel}")
checks=("${@:2}")
checks=("${checks[@]#check.}")
source=$kdir module=$top/kvm_exitprof.ko series=$top/patches/6.1
[ ! -e "$kdir/source" ] || source=$(realpath "$kdir/source")
[ ! -e "$source/Makefile" ] || series=$(series_of "$(version_of "$source")")
if [ "${series##*/}" != 6.1 ]; then
	module=$build/${series##*/}-module/kvm_exitprof.ko
	[ "${series##*/}" = 7.3 ] || of_kernel+=("${of_built_kernel[@]}")
	[ ${#checks[@]} -gt 0 ] || checks=("${of_kernel[@]}")
fi
[ ${#checks[@]} -gt 0 ] || checks=("${of_sources[@]}" "${of_build[@]}")
cd "$top"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

rustfmt_kernel() { "$RUSTFMT" --check src/kernel/main.rs; }
rustfmt_tools() { scripts/build/cargo.sh fmt --all --check; }
clippy_tools() { scripts/build/cargo.sh clippy --quiet --locked --workspace --all-targets -- -D warnings; }

# In a copy, for clippy leaves objects that are not for loading.
clippy_kernel() {
	mkdir "$tmp/module"
	cp -r Kbuild Cargo.toml src "$tmp/module"
	scripts/build/make.sh "$kdir" M="$tmp/module" CLIPPY=1 \
		CLIPPY_DRIVER=/usr/bin/clippy-driver src/kernel/main.o 2>&1 | tee "$tmp/clippy"
	! grep -q '^warning\|^error' "$tmp/clippy"
}

shellcheck_all() { shellcheck -x scripts/*.sh scripts/*/*.sh scripts/boot/*-init scripts/deb/debian/*.postinst tests/live/* .ci/run; }

# .checkpatch.conf says what is ignored, and why. Given a name, checkpatch would
# take a file that git tracks for source code.
checkpatch() {
	local patch
	while read -r patch; do
		"$source/scripts/checkpatch.pl" --strict --no-tree --root="$source" --terse - <"$series/$patch"
	done <"$series/series"
}

# A repository in $1 of the files that the series touches, with the series taken back.
without_series() {
	local file patch
	sed -n 's|^+++ b/||p' "$series"/*.patch | sort -u | while read -r file; do
		[ ! -e "$source/$file" ] || install -D -m 644 "$source/$file" "$1/$file"
	done
	git -C "$1" init -q
	[ ! -e "$1/arch/x86/kvm/exit_profiler.c" ] || tac "$series/series" | while read -r patch; do
		git -C "$1" apply -R "$series/$patch"
	done
	git -C "$1" add -f .
	git -C "$1" -c user.name=check -c user.email=check@localhost commit -qm base
}

git_am() {
	local repo=$tmp/repo
	without_series "$repo"
	sed "s|^|$series/|" "$series/series" |
		xargs git -C "$repo" -c user.name=check -c user.email=check@localhost am --whitespace=error
}

# What users of "make patch" and "make config" with their own tree rely on.
patch_knows_patched() {
	scripts/build/patch.sh "$source" 2>&1 | tee "$tmp/patch"
	grep -q 'has the series already' "$tmp/patch"
}

patch_is_all_or_nothing() {
	local file sum=$tmp/sum other=$tmp/other
	# A file of C changed under it.
	without_series "$other"
	sed -i 's/handle_exit = vmx_handle_exit/handle_exit = another/' "$other/arch/x86/kvm/vmx/vmx.c"
	printf 'kernelversion:\n\t@echo 6.1.0\n' >"$other/Makefile"
	find "$other" -path '*/.git' -prune -o -type f -exec sha256sum {} + >"$sum"
	! scripts/build/patch.sh "$other" || return
	sha256sum --quiet -c "$sum"
	for file in $(git -C "$other" ls-files --others); do
		[ "$file" = Makefile ] || {
			echo "$file was left behind"
			return 1
		}
	done
}

config_mends() {
	local kdir=$tmp/kdir
	mkdir "$kdir"
	if [ "${series##*/}" = 6.1 ]; then
		make -s -C "$source" O="$kdir" "${kernel_tools[@]}" allnoconfig
	else
		scripts/build/make.sh "$source" -s O="$kdir" allnoconfig
	fi
	"$source/scripts/config" --file "$kdir/.config" -e 64BIT -e SMP -e HIGH_RES_TIMERS -e CPU_SUP_INTEL \
		-e MODULES -e MODVERSIONS -d DEBUG_INFO_NONE \
		-e VIRTUALIZATION -e KVM -e KVM_INTEL --set-str SYSTEM_TRUSTED_KEYS debian/certs/a.pem
	! scripts/build/config.sh "$kdir" >"$tmp/obstacles" || return
	grep '^CONFIG_MODVERSIONS' "$tmp/obstacles"
	grep '^CONFIG_SYSTEM_TRUSTED_KEYS' "$tmp/obstacles"
	grep '^CONFIG_KVM_EXIT_PROFILER' "$tmp/obstacles"
	scripts/build/config.sh "$kdir" fix
	grep -x CONFIG_RUST=y "$kdir/.config"
	grep -x CONFIG_KVM_EXIT_PROFILER=y "$kdir/.config"
}

build_refuses_ibt() {
	mkdir "$tmp/ibt"
	printf 'CONFIG_RUST=y\nCONFIG_X86_KERNEL_IBT=y\n' >"$tmp/ibt/.config"
	! scripts/build/check-build.sh kernel "$tmp/ibt" 2>"$tmp/refused" || return
	grep 'CONFIG_X86_KERNEL_IBT=y.*ENDBR' "$tmp/refused"
}

# Without its option the series adds not an instruction to KVM.
option_off() {
	local module part
	scripts/build/unpatched.sh "$kdir"
	copy_kvm "$kdir" "$build/check-kvm"
	sed -i /exit_profiler/d "$build/check-kvm/arch/x86/kvm/Makefile"
	echo '#undef CONFIG_KVM_EXIT_PROFILER' >"$build/check-kvm/off.h"
	build_kvm "$kdir" "$build/check-kvm" KCFLAGS="-include $build/check-kvm/off.h"
	for module in kvm kvm-intel kvm-amd; do
		for part in "$kdir/unpatched" "$build/check-kvm/arch/x86/kvm"; do
			objcopy -O binary --only-section=.text "$part/$module.ko" "$tmp/text"
			sha256sum <"$tmp/text"
		done | uniq | tee "$tmp/sums"
		[ "$(wc -l <"$tmp/sums")" = 1 ] || die "$module.ko is another"
	done
}

# One module is built for all kernels: their series bring the same contract.
one_contract() {
	local header=arch/x86/include/asm/kvm_exit_profiler.h folder patch
	for folder in patches/*/; do
		mkdir -p "$tmp/contract/$folder"
		while read -r patch; do
			git -C "$tmp/contract/$folder" apply --include="$header" "$top/$folder$patch"
		done <"$folder/series"
		sha256sum <"$tmp/contract/$folder/$header"
	done | uniq | tee "$tmp/sums"
	[ "$(wc -l <"$tmp/sums")" = 1 ]
}

# What a maintainer has to read in the files that are there already, and of vendors.
lines_added() {
	local added vendor
	added() { cat "$series"/*.patch | awk -v "file=$1" '/^\+\+\+ / { here = $2 ~ file } here && /^\+([^+]|$)/' | wc -l; }
	added=$(($(added .) - $(added exit_profiler)))
	echo "the series adds $added lines to files that are there, and $(added exit_profiler) of its own"
	[ "$added" -lt 100 ]
	for vendor in vmx/vmx.c svm/svm.c; do
		echo "$(added "$vendor") lines to $vendor"
		[ "$(added "$vendor")" -le 12 ]
	done
}

reasons() { scripts/build/tool.sh judge && build/judge reasons "$source"; }
msrs() { scripts/build/tool.sh judge && build/judge msrs "$source"; }
layers() { scripts/build/cargo.sh test --quiet --locked --package judge --test layers; }
record() { scripts/check-record.sh "$module"; }

cargo_installs() {
	scripts/build/cargo.sh install --quiet --debug --locked --path src/tool --root "$tmp/installed"
	"$tmp/installed/bin/exitprof" --version
}

modinfo_complete() {
	local field
	for field in license author description version parm; do
		[ -n "$(modinfo -F "$field" "$module")" ] || {
			echo "modinfo has no $field"
			return 1
		}
	done
}

as_tests check "${checks[@]}"
