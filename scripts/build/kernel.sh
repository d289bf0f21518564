#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kernel.sh [NAME]: builds a kernel for demo and tests from Debian's source and the series
# of patches/, and links it to build/NAME:
#
#	kernel		6.1 for tests: preemptible, retpolines, BPF; the default
#	lean		6.1 with BPF alone, for benchmarks
#	distro		the same as kernel, by the name that benchmarks have for it
#	debug		6.1 with all that finds errors, for QEMU's emulator
#	debug-vmx	6.1 with the part of that which is light enough for Bochs
#	kcsan		6.1 with the detector of data races
#	6.12		6.12 for tests, also with BTF and the mitigations of distributions
#	6.12-lean	6.12 as above
#	7.3		Debian's own kernel, of which only KVM is built: see stock.sh
#	7.3-debug	7.3 built whole, with all that finds errors; and so on as above
#
# kernel.sh source: fetches and unpacks the source of 6.1, and builds nothing;
# kernel.sh 6.12-source: that of 6.12.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/series.sh"

name=${1:-kernel} version=6.1
case $name in
7.3) exec "$top/scripts/build/stock.sh" ;;
6.12) version=6.12 flavour=kernel ;;
6.12-* | 7.3-*) version=${name%%-*} flavour=${name#*-} ;;
*) flavour=$name ;;
esac
case $flavour in
lean) fragments=(kernel bpf) ;;
kernel | distro) fragments=(kernel preempt bpf) ;;
debug-vmx) fragments=(kernel preempt lockdep) ;;
debug) fragments=(kernel preempt lockdep debug) ;;
kcsan) fragments=(kernel preempt kcsan) ;;
source) fragments=() ;;
*) die "there is no kernel \"$name\": see $0" ;;
esac
case $name in
6.12 | 6.12-distro) fragments+=(6.12) ;;
6.12-lean) fragments+=(6.12-lean) ;;
esac
fragments=("${fragments[@]/#/$top/scripts/build/}")
fragments=("${fragments[@]/%/.config}")

mkdir -p "$cache" "$build" ||
	die "cannot write to $cache or $build: set KVM_EXITPROF_CACHE to a place where you can"
tools=toolchain
[ "$version" = 6.1 ] || tools=room
[ "$flavour" = source ] || "$top/scripts/build/check-build.sh" $tools "$cache"

# Debian's tarball, installed or not.
source_tarball() {
	local tarball=/usr/src/linux-source-$version.tar.xz
	if [ "$version" != 6.1 ]; then
		tarball=$("$top/scripts/build/packages.sh" --release trixie --only "linux-source-$version")$tarball
	elif [ ! -e "$tarball" ]; then
		tarball=$("$top/scripts/build/packages.sh" linux-source-6.1)$tarball
	fi
	echo "$tarball"
}

# For kernels after 6.1. KASAN and Rust go together with clang only.
in_root=("$top/scripts/build/root.sh")
[ "$flavour" != debug ] || in_root+=(--clang)

tool_versions() {
	if [ "$version" = 6.1 ]; then
		"$RUSTC" --version
		"$BINDGEN" --version
		clang --version
	else
		# shellcheck disable=SC2016 # the inner shell expands it
		"${in_root[@]}" sh -c 'rustc --version; bindgen --version; "${CC:-gcc}" --version'
	fi
}

kmake() {
	if [ "$version" = 6.1 ]; then
		# The rustc of the distribution, not one that stands before it in PATH: the
		# kernel's own crates need just that.
		make -C "$tree/source" O="$tree/build" "${kernel_tools[@]}" "$@"
	else
		"${in_root[@]}" make -C "$tree/source" O="$tree/build" "$@"
	fi
}

configure() {
	local source=$tree/source
	kmake -s allnoconfig
	(cd "$tree/build" && "$source/scripts/kconfig/merge_config.sh" -m -O . .config \
		"${fragments[@]}") >"$tree/merge.log" 2>&1
	kmake -s olddefconfig 2>>"$tree/merge.log"
	# What Kconfig drops, it drops silently. Of several values the last counts.
	local lost
	# An option that this version does not have goes by another name there.
	lost=$(awk -F= '/^CONFIG_/ { last[$1] = $0 } END { for (name in last) print last[name] }' \
		"${fragments[@]}" | grep -v '=n$' | grep -vxFf "$tree/build/.config" | while IFS= read -r line; do
		option=${line#CONFIG_}
		! grep -rqsE --include='Kconfig*' "^(menu)?config ${option%%=*}\$" "$source" || echo "$line"
	done || true)
	[ -z "$lost" ] || die "the kernel's configuration lost ${lost//$'\n'/ }: see $tree/merge.log"
}

# quietly COMMAND...: with its output in a file, and a sign of life now and then.
quietly() {
	while sleep 60 >&- 2>&- && kill -0 $$; do
		say "... $(grep -c '^  [A-Z]' "$tree/make.log") files"
	done 9>&- &
	local life=$!
	"$@" >>"$tree/make.log" 2>&1 || {
		kill $life
		tail -n 30 "$tree/make.log" >&2
		die "the kernel's build failed: the whole log is $tree/make.log"
	}
	kill $life
}

build_kernel() {
	quietly kmake -j"$(nproc)" bzImage modules
}

tarball=$(source_tarball)
source=$(source_of "$tarball")
if [ "$flavour" = source ]; then
	[ -d "$source" ] || lock_kernels
	ln -sfn "$(unpacked "$tarball")" "$build/$name"
	exit
fi

# The source's directory cannot move, once make has been there.
tree=$cache/${name/#distro/kernel}-$(cat "${fragments[@]}" <(basename "$source") <(tool_versions) | key)

is_built() {
	[ -e "$tree/complete" ] && is_patched "$tree/source" "$version"
}

# What is there need not wait for another kernel's build.
is_built || lock_kernels
if [ ! -e "$tree/complete" ]; then
	unpacked "$tarball" >/dev/null
	rm -rf "$tree"
	mkdir -p "$tree/build"
	cp -al "$source" "$tree/source"
	patch_tree "$source" "$tree/source" "$version"
	configure
	say "building the kernel: 1800 files, 5 to 15 minutes on 2 cores; log: $tree/make.log"
	build_kernel
	touch "$tree/complete"
	mark_patched "$tree/source"
elif ! is_built; then
	say "patching and building KVM: about a minute"
	unpacked "$tarball" >/dev/null
	patch_tree "$source" "$tree/source" "$version"
	kmake -s olddefconfig
	build_kernel
	mark_patched "$tree/source"
fi

ln -sfn "$tree/build" "$build/$name"
say "kernel $(cat "$tree/build/include/config/kernel.release"): build/$name"
