#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kernel.sh [FLAVOUR]: builds a kernel for demo and tests from Debian's linux-source-6.1
# and patches/, and links it to build/FLAVOUR:
#
#	kernel		for tests: preemptible, retpolines; the default
#	lean		without both, for benchmarks
#	distro		with both, for benchmarks
#	debug		with all that finds errors, for QEMU's emulator
#	debug-vmx	with the part of that which is light enough for Bochs
#	kcsan		with the detector of data races
#
# kernel.sh source: fetches and unpacks the source, and builds nothing.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

flavour=${1:-kernel}
case $flavour in
lean) fragments=(kernel bpf) ;;
distro) fragments=(kernel preempt bpf) ;;
kernel) fragments=(kernel preempt) ;;
debug-vmx) fragments=(kernel preempt lockdep) ;;
debug) fragments=(kernel preempt lockdep debug) ;;
kcsan) fragments=(kernel preempt kcsan) ;;
source) fragments=() ;;
*) die "there is no kernel \"$flavour\": see $0" ;;
esac
fragments=("${fragments[@]/#/$top/scripts/build/}")
fragments=("${fragments[@]/%/.config}")

mkdir -p "$cache" "$build" ||
	die "cannot write to $cache or $build: set KVM_EXITPROF_CACHE to a place where you can"
[ "$flavour" = source ] || "$top/scripts/build/check-build.sh" toolchain "$cache"

# Debian's tarball, installed or not.
source_tarball() {
	local tarball=/usr/src/linux-source-6.1.tar.xz
	if [ ! -e "$tarball" ]; then
		tarball=$("$top/scripts/build/packages.sh" linux-source-6.1)$tarball
	fi
	echo "$tarball"
}

tool_versions() {
	"$RUSTC" --version
	"$BINDGEN" --version
	clang --version
}

key() {
	sha256sum | cut -c1-12
}

kmake() {
	# The rustc of the distribution, not one that stands before it in PATH: the
	# kernel's own crates need just that.
	make -C "$tree/source" O="$tree/build" "${kernel_tools[@]}" "$@"
}

configure() {
	local source=$tree/source
	kmake -s allnoconfig
	(cd "$tree/build" && "$source/scripts/kconfig/merge_config.sh" -m -O . .config \
		"${fragments[@]}") >"$tree/merge.log" 2>&1
	kmake -s olddefconfig 2>>"$tree/merge.log"
	# What Kconfig drops, it drops silently. Of several values the last counts.
	local lost
	lost=$(awk -F= '/^CONFIG_/ { last[$1] = $0 } END { for (name in last) print last[name] }' \
		"${fragments[@]}" | grep -v '=n$' | grep -vxFf "$tree/build/.config" || true)
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

# Puts what the patches touch, or those that were there before, back to what the
# tarball has, with new times, for make, and applies the patches. However far a run got,
# the next starts here.
apply_series() {
	local file patch
	{
		cat "$top"/patches/*.patch
		cat "$tree"/patches/*.patch 2>/dev/null || true
	} | sed -n 's|^+++ b/||p' | sort -u | while read -r file; do
		rm -f "$tree/source/$file"
		[ ! -e "$source/$file" ] || cp "$source/$file" "$tree/source/$file"
	done
	rm -rf "$tree/patches"
	cp -r "$top/patches" "$tree/patches"
	while read -r patch; do
		patch -d "$tree/source" -p1 -f --fuzz=0 --no-backup-if-mismatch -r - -s <"$top/patches/$patch" ||
			die "patches/$patch does not apply to $(basename "$tarball")"
	done <"$top/patches/series"
}

exec 9>"$cache/kernel.lock"
flock -n 9 || {
	say "waiting for another build of a kernel"
	flock 9
}

tarball=$(source_tarball)
# Its size and time identify it: packages preserve them.
source=$cache/source-$(stat -c '%s %Y' "$tarball" | key)
[ -d "$source" ] || {
	say "unpacking $(basename "$tarball")"
	rm -rf "$source.part"
	mkdir "$source.part"
	tar --strip-components=1 -xf "$tarball" -C "$source.part"
	mv "$source.part" "$source"
}
[ "$flavour" != source ] || exit 0

# The source's directory cannot move, once make has been there.
tree=$cache/$flavour-$(cat "${fragments[@]}" <(basename "$source") <(tool_versions) | key)
if [ ! -e "$tree/complete" ]; then
	rm -rf "$tree"
	mkdir -p "$tree/build"
	cp -al "$source" "$tree/source"
	apply_series
	configure
	say "building the kernel: 1600 files, 5 to 15 minutes on 2 cores; log: $tree/make.log"
	build_kernel
	touch "$tree/complete"
elif ! [ -e "$tree/patched" ] || ! diff -rq "$top/patches" "$tree/patches" >/dev/null; then
	say "patching and building KVM: about a minute"
	rm -f "$tree/patched"
	apply_series
	kmake -s olddefconfig
	build_kernel
fi
touch "$tree/patched"

ln -sfn "$tree/build" "$build/$flavour"
say "kernel $(cat "$tree/build/include/config/kernel.release"): build/$flavour"
