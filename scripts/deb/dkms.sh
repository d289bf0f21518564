#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What DKMS runs, as dkms.conf says, in a copy of its package's sources.
#
#	dkms.sh check KERNEL	says why nothing can be built for KERNEL, and exits with 77, for
#				which DKMS leaves the kernel as it is
#	dkms.sh build KERNEL	builds KVM's modules and the profiler for it: modules/*.ko
#	dkms.sh renew KERNEL	has DKMS build and install them, if they are missing or belong to
#				another upload of that kernel
set -euo pipefail
export KVM_EXITPROF_CACHE=$PWD/work
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/../build/series.sh"

[ $# = 2 ] || die "usage: $0 check|build|renew KERNEL"
# dkms.conf knows it by that name.
kernelver=$2 headers=/lib/modules/$2/build
series=$(cd "$top/patches" && echo *)

value() {
	sed -n "s/^CONFIG_$1=\"\?\([^\"]*\)\"\?$/\1/p" "$headers/.config"
}

# Debian's version of the kernel. Each upload may have another layout under the same release.
upload() {
	sed -n 's/^#define UTS_VERSION ".* Debian \([^ ]*\) .*"$/\1/p' "$headers/include/generated/utsversion.h"
}

# unfit WHY: it can never be built for this kernel.
unfit() {
	say_why "$1. A kernel that fits is Debian's $series: apt install -t trixie-backports" \
		"linux-image-amd64 linux-headers-amd64"
}

say_why() {
	echo "kvm-exitprof: nothing is built for Linux $kernelver, which keeps its KVM: $*"
	exit 77
}

check() {
	local option source
	[ -e "$headers/.config" ] || say_why "it has no headers here: apt install linux-headers-$kernelver"
	# shellcheck source=scripts/deb/debian/kvm-exitprof-dkms.dkms
	. "$top/dkms.conf"
	for option in $BUILD_EXCLUSIVE_CONFIG; do
		case $option in
		!*) [ -z "$(value "${option#!CONFIG_}")" ] || unfit "it is built with ${option#!}" ;;
		*) [ "$(value "${option#CONFIG_}")" ] || unfit "it is built without $option" ;;
		esac
	done
	[[ $kernelver =~ $BUILD_EXCLUSIVE_KERNEL ]] || unfit "the patches are for Linux $series"
	[ "$(value RUSTC_VERSION_TEXT)" = "$("$RUSTC" --version)" ] ||
		say_why "its Rust crates need \"$(value RUSTC_VERSION_TEXT)\", and $RUSTC is" \
			"\"$("$RUSTC" --version 2>&1)\": install that version of Debian's rustc"
	source=$(dpkg-query -Wf '${Version}' "linux-source-$series" 2>/dev/null || true)
	[ "$(upload)" = "$source" ] ||
		say_why "it is Debian's $(upload), and linux-source-$series is ${source:-missing}:" \
			"apt install linux-source-$series=$(upload), or boot the kernel that belongs to that source"
}

build() {
	local source
	trap 'rm -rf "$cache"' EXIT
	mkdir -p "$cache"
	"$top/scripts/build/check-build.sh" room "$cache"
	# Without what is many files and no source of a kernel for this machine.
	source=$(unpacked "/usr/src/linux-source-$series.tar.xz" --exclude='*.rst' --exclude='*.yaml' \
		--exclude='*.dts*' --exclude='*/tools/testing/selftests')
	"$top/scripts/build/patch.sh" "$source"
	say "building KVM for Linux $kernelver, Debian $(upload)"
	"$top/scripts/build/stock-kvm.sh" "$source" "$headers" make "${kernel_tools[@]:1}"
	say "building the profiler"
	"$top/scripts/build/make.sh" "$source" M="$top" modules
	install -m 644 -D -t modules "$source"/arch/x86/kvm/*.ko kvm_exitprof.ko
}

renew() {
	check
	# shellcheck source=scripts/deb/debian/kvm-exitprof-dkms.dkms
	. "$top/dkms.conf"
	! grep -qs "KVM for Linux $kernelver, Debian $(upload)\$" \
		"/var/lib/dkms/$PACKAGE_NAME/$PACKAGE_VERSION/$kernelver/$(uname -m)/log/make.log" ||
		exit 0
	# After an upgrade that has brought the stock modules again, those put aside are the old.
	[ ! -e "/lib/modules/$kernelver/kernel/arch/x86/kvm/kvm.ko.xz" ] ||
		rm -rf "/var/lib/dkms/$PACKAGE_NAME/original_module/$kernelver"
	dkms install --force -m "$PACKAGE_NAME" -v "$PACKAGE_VERSION" -k "$kernelver"
}

case $1 in
check | build | renew) "$1" ;;
*) die "usage: $0 check|build|renew KERNEL" ;;
esac
