#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# unpatched.sh KDIR: builds KVM's modules without the series, for tests and benchmarks to
# compare with: KDIR/unpatched/*.ko. KDIR is a kernel of kernel.sh.
set -euo pipefail
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/kvm-copy.sh"

[ $# = 1 ] || die "usage: $0 KDIR"
kernel=$(realpath "$1")
[ ! -e "$kernel/unpatched/complete" ] || exit 0

say "building KVM without the series for $1: about a minute"
copy=$build/unpatched
rm -rf "$copy" # of a build that failed
mkdir -p "$copy"
logged "$copy/patch.log" copy_unpatched "$kernel" "$copy"
logged "$copy/make.log" build_kvm "$kernel" "$copy"
install -D -t "$kernel/unpatched" "$copy"/arch/x86/kvm/*.ko
touch "$kernel/unpatched/complete"
rm -rf "$copy"
