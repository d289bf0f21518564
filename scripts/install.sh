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

vendor=kvm_intel
! grep -qw svm /proc/cpuinfo || vendor=kvm_amd

# Guests, or modules such as kvmgt, may use KVM.
unused() {
	for module in "$vendor" kvm; do
		[ -e "/sys/module/$module" ] || continue
		for holder in "/sys/module/$module/holders"/*; do
			case ${holder##*/} in
			'*' | kvm_exitprof | "$vendor") ;;
			*) die "${holder##*/} uses $module: unload it first" ;;
			esac
		done
	done
	[ ! -e "/sys/module/$vendor" ] || [ "$(cat "/sys/module/$vendor/refcnt")" = 0 ] ||
		die "guests run, and KVM cannot be replaced under them: stop them first (fuser -v /dev/kvm shows which)"
}

ready() {
	[ "$(id -u)" = 0 ] || die "this changes $updates and KVM's modules: run it as root"
	unused
	[ ! -e /sys/module/kvm_exitprof ] || echo "unloading kvm_exitprof: its counters are lost"
}

# Loads what modprobe prefers now in place of what is loaded. rmmod needs no list of
# modules, which may not have what is loaded any more.
reload() {
	depmod "$release"
	for module in kvm_exitprof "$vendor" kvm; do
		[ ! -e "/sys/module/$module" ] || rmmod "$module" || return
	done
	modprobe "$vendor" || return
	for module in kvm "$vendor"; do
		[ "$(cat "/sys/module/$module/srcversion" 2>/dev/null)" = "$(modinfo -F srcversion "$module")" ] ||
			return
		echo "loaded $(modinfo -n "$module")"
	done
}

# Each upload of a distribution's kernel may have another layout under the same name.
check_kernel() {
	built=$(sed -n 's/^#define UTS_VERSION "\(.*\)"$/\1/p' "$1/debian-version.h" 2>/dev/null || true)
	[ -z "$built" ] || [ "$built" = "$(uname -v)" ] ||
		die "$1 is for \"$built\", and this machine runs \"$(uname -v)\": build again with that kernel's headers"
	shift
	for module; do
		[ -e "$module" ] || die "there is no $module: run \"make kernel modules KERNEL=7.3\""
		for_release=$(modinfo -F vermagic "$module" | cut -d' ' -f1)
		[ "$for_release" = "$release" ] ||
			die "$module is for $for_release, and this machine runs $release: boot that kernel, or build for this one"
	done
}

# Lockdown, and module.sig_enforce, refuse modules without a signature that they know.
check_signatures() {
	grep -qs '\[\(integrity\|confidentiality\)\]' /sys/kernel/security/lockdown ||
		[ "$(cat /sys/module/module/parameters/sig_enforce 2>/dev/null)" = Y ] || return 0
	for module; do
		[ -n "$(modinfo -F signer "$module")" ] ||
			die "this kernel loads signed modules only (secure boot), and $module is not signed: sign it by the" \
				"kernel's scripts/sign-file with a key that mokutil --import has enrolled, or switch secure boot off"
	done
}

remove() {
	rm -rf "$updates"
	rmdir "${updates%/*}" 2>/dev/null || true
}

case ${1:-}:$# in
install:3)
	kvm=$2/arch/x86/kvm
	set -- "$2" "$kvm/kvm.ko" "$kvm/kvm-intel.ko" "$kvm/kvm-amd.ko" "$3"
	ready
	check_kernel "$@"
	shift
	check_signatures "$@"
	mkdir -p "$updates"
	cp "$@" "$updates"
	reload || {
		remove
		reload || true
		die "the patched modules do not load (see dmesg); nothing is installed, and the stock ones are loaded again"
	}
	echo "installed kvm, kvm-intel, kvm-amd and kvm_exitprof in $updates"
	echo "load the profiler: modprobe kvm_exitprof scope=vm; undo this: make uninstall-kvm"
	;;
uninstall:1)
	ready
	[ -d "$updates" ] || die "nothing is installed in $updates"
	remove
	echo "removed $updates"
	reload || die "KVM could not be loaded again: see dmesg"
	;;
*) die "usage: $0 install KDIR MODULE, or $0 uninstall" ;;
esac
