#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# nrips.sh [TEST...]: runs end-to-end tests on SVM's fast path in QEMU.
#
# KVM takes that path only if the CPU tells where the next instruction is (NRIPS), and those
# that QEMU emulates do not. So a copy of KVM takes it from the length of the instruction.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/build/kvm-copy.sh"

[ $# -gt 0 ] || set -- count. profile. books. total.
kernel=$build/$kernel_name copy=$build/nrips-$kernel_name

faked() {
	local svm=$copy/arch/x86/kvm/svm/svm.c
	copy_kvm "$kernel" "$copy"
	perl -0pi -e '
		s/nrips = nrips && boot_cpu_has\(X86_FEATURE_NRIPS\);//;
		s/WARN_ON_ONCE\(!\w+\(X86_FEATURE_NRIPS\)\);//;
		s/(?=\tif \(!nrips \|\| !control->next_rip\))/
	control->next_rip = svm->vmcb->save.rip;
	switch (control->exit_code) {
	case SVM_EXIT_HLT:
		control->next_rip += 1;
		break;
	case SVM_EXIT_MSR:
	case SVM_EXIT_INVD:
		control->next_rip += 2;
		break;
	default:
		control->next_rip = 0;
	}
/' "$svm"
	[ "$(grep -c 'control->next_rip += ' "$svm")" = 2 ] || die "$svm is not as expected"
	build_kvm "$kernel" "$copy"
}

say "building KVM with a faked NRIPS: about a minute"
mkdir -p "$copy"
logged "$copy/make.log" faked
EMULATOR=tcg PATCHED_KVM=$copy/arch/x86/kvm "$top/scripts/e2e.sh" "$kernel_name" "$module_for_kernel" test "$@"
