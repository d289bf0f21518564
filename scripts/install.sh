#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Puts patched KVM and the profiler beside a distribution's kernel, which stays as it is.
#
#	install.sh install KDIR MODULE	KDIR as stock.sh has built it, for the running kernel
#	install.sh uninstall		undoes that
#
# modprobe prefers modules in updates/ to those that came with the kernel.
set -eu

release=$(uname -r)
updates=/lib/modules/$release/updates/kvm-exitprof

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# The vendor's module, and whether KVM is in use.
vendor=kvm_intel
! grep -qw svm /proc/cpuinfo || vendor=kvm_amd
in_use() {
	[ -e "/sys/module/$vendor/refcnt" ] && [ "$(cat "/sys/module/$vendor/refcnt")" != 0 ]
}

ready() {
	[ "$(id -u)" = 0 ] || die "this changes $updates and KVM's modules: run it as root"
	! in_use || die "guests run, and KVM cannot be replaced under them: stop them first" \
		"(fuser -v /dev/kvm shows which)"
}

# Loads what modprobe prefers now in place of what is loaded.
reload() {
	depmod "$release"
	for module in kvm_exitprof "$vendor" kvm; do
		[ ! -e "/sys/module/$module" ] || modprobe -r "$module"
	done
	modprobe "$vendor"
	echo "loaded $(modinfo -n kvm) and $(modinfo -n "$vendor")"
}

case ${1:-}:$# in
install:3)
	kdir=$2 module=$3
	ready
	built=$(modinfo -F vermagic "$module" | cut -d' ' -f1)
	[ "$built" = "$release" ] ||
		die "$module is for $built, and this machine runs $release: boot that kernel, or build for this one"
	# Lockdown, and module.sig_enforce, refuse modules without a signature that they know.
	if grep -qs '\[\(integrity\|confidentiality\)\]' /sys/kernel/security/lockdown ||
		[ "$(cat /sys/module/module/parameters/sig_enforce 2>/dev/null)" = Y ]; then
		die "this kernel loads signed modules only (secure boot): sign $kdir/arch/x86/kvm/*.ko and $module" \
			"by a key of your own that mokutil --import has enrolled (scripts/sign-file), or switch secure boot off"
	fi
	mkdir -p "$updates"
	cp "$kdir/arch/x86/kvm/kvm.ko" "$kdir/arch/x86/kvm/kvm-intel.ko" "$kdir/arch/x86/kvm/kvm-amd.ko" \
		"$module" "$updates"
	echo "installed kvm, kvm-intel, kvm-amd and kvm_exitprof in $updates"
	reload
	echo "load the profiler: modprobe kvm_exitprof scope=vm; undo this: make uninstall-kvm"
	;;
uninstall:1)
	ready
	[ -d "$updates" ] || die "nothing is installed in $updates"
	rm -rf "$updates"
	echo "removed $updates"
	reload
	;;
*) die "usage: $0 install KDIR MODULE, or $0 uninstall" ;;
esac
