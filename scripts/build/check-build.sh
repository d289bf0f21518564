#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Says what is missing before a build fails for it in a way that is hard to read.
#
#	check-build.sh room DIR	room for a kernel in DIR
#	check-build.sh toolchain DIR	the same, and tools for a Rust-enabled 6.1
#	check-build.sh kernel KDIR	a built kernel that the module can be built for
set -euo pipefail
. "$(dirname "$0")/../common.sh"

# Kbuild splits paths at spaces and colons.
for path in "$top" "${2:-}"; do
	case $path in
	*[[:space:]:]*) die "kernels and modules cannot be built in \"$path\": its name must have no spaces or colons" ;;
	esac
done

toolchain() {
	local tool
	for tool in make flex bison bc clang ld.lld llvm-ar patch cpio xz lz4 "$RUSTC" "$BINDGEN"; do
		command -v "$tool" >/dev/null ||
			die "$tool is missing: run \"make deps\", or set RUSTC and BINDGEN to where they are"
	done
	case $("$RUSTC" --version) in
	"rustc 1.63."* | "rustc 1.62."*) ;;
	*) die "Linux 6.1 needs rustc 1.62 or 1.63, and $RUSTC is $("$RUSTC" --version):" \
		"apt-get install rustc on Debian 12, or set RUSTC" ;;
	esac
	[ -d "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust/library" ] ||
		die "the sources of Rust's standard library are missing for $RUSTC: apt-get install rust-src"
	room "$1"
}

room() {
	local free
	free=$(df --output=avail -m "$1" 2>/dev/null | tail -n 1)
	[ "${free:-0}" -ge 4000 ] ||
		die "$1 has $free MB left, a kernel takes 4000: free some, or set KVM_EXITPROF_CACHE"
}

kernel() {
	[ -e "$1/.config" ] || die "$1 holds no built kernel: run \"make kernel\", or set KDIR"
	grep -qx CONFIG_RUST=y "$1/.config" || die "the kernel in $1 has no CONFIG_RUST=y:" \
		"\"make config KDIR=$1\" says what stands in the way"
	local source=$1
	[ ! -e "$1/source" ] || source=$1/source
	! grep -qx CONFIG_X86_KERNEL_IBT=y "$1/.config" || grep -qs 'RUSTFLAGS.*cf-protection' "$source/arch/x86/Makefile" ||
		die "the kernel in $1 has CONFIG_X86_KERNEL_IBT=y, but gives Rust code no ENDBR," \
			"so that calls into the module would fault; \"make config KDIR=$1 FIX=1\" fixes that"
	[ -e "$source/arch/x86/include/asm/kvm_exit_profiler.h" ] ||
		die "the kernel in $1 lacks our patches: run \"make patch KDIR=$source\" and build it again"
	grep -qx CONFIG_KVM_EXIT_PROFILER=y "$1/.config" || die "the kernel in $1 has no CONFIG_KVM_EXIT_PROFILER=y," \
		"which our patches bring: \"make config KDIR=$1 FIX=1\", and build it again"
	local file
	for file in rust/libkernel.rmeta Module.symvers; do
		[ -e "$1/$file" ] || die "the kernel in $1 is configured, but has no $file: build it"
	done
	local built ours
	built=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$1/.config")
	ours=$("$top/scripts/build/make.sh" "$1" -s rustc)
	[ -z "$built" ] || [ "$built" = "$ours" ] ||
		die "the kernel in $1 was built by \"$built\", and ours is \"$ours\": set RUSTC"
}

case ${1:-}:$# in
room:2 | toolchain:2 | kernel:2) "$1" "$2" ;;
*) die "usage: $0 room DIR | toolchain DIR | kernel KDIR" ;;
esac
