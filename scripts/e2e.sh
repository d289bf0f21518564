#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots build/FLAVOUR (see kernel.sh) in the emulator, with tests/e2e as its
# init, and both kinds of KVM's modules and MODULE to load; shows the results.
#
#	e2e.sh FLAVOUR MODULE MODE [NAME...]	MODE and NAME as tests/e2e takes them
#
# CPUS in the environment says how many the machine has: 2 unless told otherwise;
# KVM, where its patched modules are: in build/FLAVOUR.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# -ge 3 ] || die "usage: $0 FLAVOUR MODULE MODE [NAME...]"
# Where everything is checked, or much is done, it takes long.
limit=1800
case $1:$3 in
debug* | kcsan:* | *:soak) limit=14400 ;;
esac
kernel=$build/$1 module=$2 out=$build/e2e-$1-${EMULATOR:-auto}
shift 2

# Costs repeat exactly on one CPU only.
cpus=${CPUS:-2}
[ "$1" != cost ] || cpus=1

files=("$module:/modules/")
for file in kvm kvm-intel kvm-amd; do
	files+=("${KVM:-$kernel/arch/x86/kvm}/$file.ko:/modules/patched/"
		"$kernel/unpatched/$file.ko:/modules/unpatched/")
done
[ ! -e "$kernel/virt/lib/irqbypass.ko" ] || files+=("$kernel/virt/lib/irqbypass.ko:/modules/")
mkdir -p "$out"
"$top/scripts/initramfs.sh" "$out/initramfs.cpio" "$build/e2e" "${files[@]}"
"$top/scripts/image.sh" "$out/image.iso" "$kernel/arch/x86/boot/bzImage" "$out/initramfs.cpio" \
	"console=ttyS0 quiet loglevel=5 log_buf_len=8M mitigations=off nokaslr no_timer_check msr.allow_writes=on idle=halt panic=-1 reboot=t -- $*"
"$top/scripts/emulate.sh" --cpus "$cpus" --timeout $limit "$out/image.iso" "$out"
