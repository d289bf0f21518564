#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# stock.sh: builds KVM's modules, patched, for the kernel that Debian 13 ships in its
# backports: build/7.3. The kernel itself is Debian's, to the byte; only its Rust crates and
# KVM's modules are compiled, with the compilers that Debian compiled it with. unpatched/
# has Debian's own modules of KVM, needed/ other modules that KVM and tests need, and modules/ all
# of them, packed.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/series.sh"

version=7.3
in_root=$top/scripts/build/root.sh
packages() {
	"$top/scripts/build/packages.sh" --release trixie --only "$@"
}

mkdir -p "$cache" "$build" ||
	die "cannot write to $cache or $build: set KVM_EXITPROF_CACHE to a place where you can"
"$top/scripts/build/check-build.sh" room "$cache"

# The compilers are unpacked meanwhile.
"$in_root" true &
compilers=$!

tarball=$(packages linux-source-$version)/usr/src/linux-source-$version.tar.xz
[ -d "$(source_of "$tarball")" ] || lock_kernels
source=$(unpacked "$tarball")
release=$(make -s -C "$source" kernelversion)+deb13-amd64
kernel=$(packages "linux-headers-$release" "linux-binary-$release" "linux-modules-$release")
headers=$kernel/usr/src/linux-headers-$release
modules=$kernel/usr/lib/modules/$release
wait $compilers || die "the compilers of Debian 13 cannot be unpacked"

built=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"$/\1/p' "$headers/.config")
[ "$built" = "$("$in_root" rustc --version)" ] ||
	die "Debian built $release with \"$built\", and ships \"$("$in_root" rustc --version)\" now:" \
		"wait for its next kernel, or delete $cache/apt to get newer package lists"

tree=$cache/stock-$release
is_built() {
	[ -e "$tree/complete" ] && is_patched "$tree" $version
}

# What is there need not wait for another kernel's build.
is_built || lock_kernels
if [ ! -e "$tree/complete" ]; then
	rm -rf "$tree"
	cp -al "$source" "$tree"
	mkdir "$tree/unpatched" "$tree/needed"
	for module in arch/x86/kvm/{kvm,kvm-intel,kvm-amd}; do
		xz -dc "$modules/kernel/$module.ko.xz" >"$tree/unpatched/${module##*/}.ko"
	done
	for module in virt/lib/irqbypass drivers/crypto/ccp/ccp arch/x86/kernel/{msr,cpuid}; do
		xz -dc "$modules/kernel/$module.ko.xz" >"$tree/needed/${module##*/}.ko"
	done
	mkdir -p "$tree/arch/x86/boot"
	cp "$modules/vmlinuz" "$tree/arch/x86/boot/bzImage"
	touch "$tree/complete"
fi

if ! is_built; then
	say "building the Rust crates of Linux $release, and KVM: 2 minutes on 2 cores; log: $tree.log"
	patch_tree "$source" "$tree" $version
	logged "$tree.log" "$top/scripts/build/stock-kvm.sh" "$tree" "$headers" "$in_root" make
	mark_patched "$tree"
fi

ln -sfn "$modules" "$tree/modules"
ln -sfn "$tree" "$build/$version"
say "kernel $release: build/$version"
