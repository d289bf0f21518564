#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# exitprof on real machines: boots a host in the emulator, and a guest of it in QEMU,
# and has exitprof run in both. KTAP on stdout.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

kernel=$build/kernel
out=$build/live-${EMULATOR:-auto}
image=$kernel/arch/x86/boot/bzImage
modules=("$kernel"/arch/x86/kvm/{kvm,kvm-intel,kvm-amd}.ko "$top/kvm_exitprof.ko")
irqbypass=$kernel/virt/lib/irqbypass.ko
[ ! -f "$irqbypass" ] || modules+=("$irqbypass")
mkdir -p "$out"
"$top/scripts/initramfs.sh" "$out/guest.cpio" "$top/tests/live/guest-init" "$build/exitprof:/usr/bin/"
"$top/scripts/initramfs.sh" --qemu "$out/host.cpio" "$top/tests/live/host-init" "$build/exitprof:/usr/bin/" \
	"$image:/guest/kernel" "$out/guest.cpio:/guest/initramfs" "${modules[@]/%/:/lib/modules/}"
"$top/scripts/image.sh" "$out/image.iso" "$image" "$out/host.cpio" \
	"console=ttyS0 quiet loglevel=3 mitigations=off nokaslr no_timer_check panic=-1 reboot=t"
"$top/scripts/emulate.sh" --timeout 1800 "$out/image.iso" "$out"
