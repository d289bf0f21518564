#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests EMULATOR=kvm on a machine without VMX and SVM: QEMU emulates a CPU with SVM, and
# on that CPU the command that emulate.sh uses with KVM boots the demo. The demo's host is
# then a guest, and the demo's guest a guest's guest.
set -euo pipefail
. "$(dirname "$0")/common.sh"

out=build/kvm
cd "$top"
mkdir -p $out
iso=$(scripts/boot/boot.sh --image demo)
scripts/boot/emulate.sh --kvm /demo.iso /run >$out/emulate
iso=$(scripts/boot/boot.sh --image kvm --qemu-pc "$iso:/demo.iso" $out/emulate:/emulate)
EMULATOR=tcg scripts/boot/emulate.sh --memory 3072 --timeout 1800 "$iso" $out
build/judge demo $out/results.log $out/console.log
