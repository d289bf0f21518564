#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# EMULATOR=kvm where no CPU has VMX or SVM: the demo on a machine that has SVM by
# emulation, with the command by which emulate.sh boots it on one that really has. So
# the demo's host is a guest there, and the demo's guest is a guest's guest.
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
