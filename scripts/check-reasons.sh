#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-reasons.sh SOURCE: compares the table in src/profile/reason.rs with the
# kernel's source: the names with uapi/asm/vmx.h, "Handled" with
# kvm_vmx_exit_handlers[]. Numbers that vmx.h lacks are the SDM's.
set -euo pipefail
. "$(dirname "$0")/common.sh"

vmx_h=$1/arch/x86/include/uapi/asm/vmx.h
vmx_c=$1/arch/x86/kvm/vmx/vmx.c

# Lines "number name" and "number": what the kernel has.
names=$(sed -n 's/^#define EXIT_REASON_\([A-Z0-9_]*\)[[:space:]]*\([0-9]*\)$/\2 \1/p' "$vmx_h" | sort -n)
handled=$(sed -n '/kvm_vmx_exit_handlers\[\]/,/^};/s/.*\[EXIT_REASON_\([A-Z0-9_]*\)\].*/\1/p' "$vmx_c" |
	while read -r name; do grep " $name\$" <<<"$names" | cut -d' ' -f1; done | sort -n)

# Lines "number name status": what the table has.
table=$(sed -n '/^const VMX:/,/^];/p' "$top/src/profile/reason.rs" |
	sed -n 's/^ *Some(("\([A-Z0-9_]*\)", \([A-Za-z]*\))),.*/\1 \2/p; s/^ *None,.*/- -/p' |
	awk '{ print NR - 1, $0 }')

if [ "$(wc -l <<<"$names")" -lt 50 ] || [ "$(wc -l <<<"$handled")" -lt 40 ] || [ "$(wc -l <<<"$table")" != 80 ]; then
	die "cannot read the reasons from $vmx_h, $vmx_c or src/profile/reason.rs"
fi

diff -u --label "$vmx_h" <(echo "$names") --label src/profile/reason.rs \
	<(awk 'NR == FNR { known[$1]; next } $1 in known { print $1, $2 }' <(echo "$names") <(echo "$table")) ||
	die "names of exit reasons differ from the kernel's"
diff -u --label "$vmx_c" <(echo "$handled") --label src/profile/reason.rs \
	<(awk '$3 == "Handled" { print $1 }' <<<"$table") ||
	die "handled exit reasons differ from the kernel's"
