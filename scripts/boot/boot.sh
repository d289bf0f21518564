#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host in an emulator, and perhaps a guest on it.
#
#	boot.sh SCENARIO OUTDIR [OPTION...]	OUTDIR and OPTION as in emulate.sh
#	boot.sh --image SCENARIO [ARGUMENT...]	only makes the image, and prints its path
#
# host-init prepares the host and then runs tests/live/SCENARIO.host. That may boot the
# guest, by boot_guest. guest-init prepares the guest and then runs
# tests/live/SCENARIO.guest. ARGUMENT goes to initramfs.sh, for the host.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

usage="usage: $0 SCENARIO OUTDIR [OPTION...], or $0 --image SCENARIO [ARGUMENT...]"
case ${1:-} in
--image)
	scenario=${2:?$usage}
	arguments=("${@:3}")
	;;
*)
	scenario=${1:?$usage} out=${2:?$usage}
	arguments=()
	;;
esac

kernel=$build/$kernel_name
bzimage=$kernel/arch/x86/boot/bzImage
files=("$build/exitprof:/usr/bin/")
for module in "$kernel"/arch/x86/kvm/{kvm,kvm-intel,kvm-amd}.ko "$module_for_kernel"; do
	files+=("$module:/lib/modules/")
done
for module in "$kernel"/{virt/lib/irqbypass.ko,needed/*.ko}; do
	[ ! -f "$module" ] || files+=("$module:/lib/modules/needed/")
done
host=$top/tests/live/$scenario.host guest=$top/tests/live/$scenario.guest
for file in "$bzimage" "${files[@]%:*}" "$host"; do
	[ -f "$file" ] || die "no $file: run \"make demo\", which builds it"
done

# An image lasts until something in it changes.
images=$build/boot-$kernel_name
iso=$images/$scenario.iso
inputs=("$bzimage" "${files[@]%:*}" "$top"/scripts/boot/* "$top/tests/live/$scenario".*)
for argument in "${arguments[@]}"; do
	[ ! -f "${argument%:*}" ] || inputs+=("${argument%:*}")
done
key=$(sha256sum "${inputs[@]}" | sha256sum)
if [ "$key" != "$(cat "$iso.key" 2>/dev/null)" ]; then
	say "making the image of $scenario"
	rm -f "$iso.key"
	if [ -f "$guest" ]; then
		guest_files=("$guest:/scenario" "$build/exitprof:/usr/bin/")
		# The driver of /dev/cpu/0/cpuid, which Debian has as a module.
		driver=$kernel/needed/cpuid.ko
		[ ! -f "$driver" ] || guest_files+=("$driver:/lib/modules/")
		"$top/scripts/boot/initramfs.sh" "$images/guest.cpio" "$top/scripts/boot/guest-init" \
			--cpuid "${guest_files[@]}"
		files+=("$bzimage:/guest/kernel" "$images/guest.cpio:/guest/initramfs")
		arguments+=(--qemu)
	fi
	"$top/scripts/boot/initramfs.sh" "$images/host.cpio" "$top/scripts/boot/host-init" \
		"$host:/scenario" "${files[@]}" "${arguments[@]}"
	"$top/scripts/boot/image.sh" "$iso" "$bzimage" "$images/host.cpio" \
		"$(command_line "$kernel_name") loglevel=3"
	rm -f "$images"/{guest,host}.cpio
	echo "$key" >"$iso.key"
fi

if [ "$1" = --image ]; then
	echo "$iso"
else
	"$top/scripts/boot/emulate.sh" --timeout 1800 "${@:3}" "$iso" "$out"
fi
