#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-reasons.sh SOURCE: compares the tables in src/profile/vmx.rs and svm.rs
# with the kernel's source: the names with uapi/asm/vmx.h and svm.h, "Handled"
# with KVM's tables of handlers. Numbers that vmx.h lacks are the SDM's.
set -euo pipefail
. "$(dirname "$0")/common.sh"

uapi=$1/arch/x86/include/uapi/asm
kvm=$1/arch/x86/kvm

# Lines "number name" of what the kernel has.
vmx_names() {
	sed -n 's/^#define EXIT_REASON_\([A-Z0-9_]*\)[[:space:]]*\([0-9]*\)$/\2 \1/p' "$uapi/vmx.h"
}

# Two numbers there mark a range, that of exceptions, which have their vectors'
# names; the parameters of VMGEXIT events are decimal.
svm_names() {
	local name number
	sed -n 's/^#define SVM_\(EXIT_\)\?\([A-Z0-9_]*\)[[:space:]]*\(0x[0-9a-f]*\|-1\)$/\2 \3/p' "$uapi/svm.h" |
		while read -r name number; do
			case $name in
			EXCP_BASE | LAST_EXCP) ;;
			*) echo "$((number & 0xffffffff)) $name" ;;
			esac
		done
	for number in {0..31}; do
		name=$(sed -n "s/^#define \([A-Z]*\)_VECTOR $number\$/\1/p" "$uapi/kvm.h")
		echo "$((0x40 + number)) EXCP_${name:-$number}"
	done
}

# Lines "name" of what KVM handles.
vmx_handled() {
	sed -n '/kvm_vmx_exit_handlers\[\]/,/^};/s/.*\[EXIT_REASON_\([A-Z0-9_]*\)\].*/\1/p' "$kvm/vmx/vmx.c"
}

svm_handled() {
	sed -n '/ svm_exit_handlers\[\]/,/^};/s/.*\[SVM_EXIT_\([^]]*\)\].*/\1/p' "$kvm/svm/svm.c" |
		sed 's/^EXCP_BASE + \([A-Z]*\)_VECTOR/EXCP_\1/'
}

# The table's file without comments, as one line.
code() {
	sed 's|//.*||' "$top/src/profile/$1.rs" | tr '\n' ' '
}

# Lines "number name status" of what the table has, in its order: rows such as
# (10, "CPUID", Handled).
table() {
	local number name status
	code "$1" | grep -oE '\( *[0-9a-fx_]+, *"[A-Z0-9_]+", *(Handled|Unhandled),? *\)' | tr -d '(,")' |
		while read -r number name status; do
			echo "$((${number//_/})) $name $status"
		done
}

# compare ISA NAMES HANDLED: at least so many must have been read, and each row, which
# has the only text in it.
compare() {
	local names handled table
	names=$("$1_names" | sort -n)
	handled=$("$1_handled" | sort)
	table=$(table "$1" || true)
	[ "$(wc -l <<<"$table")" = "$(code "$1" | grep -o '"[^"]*"' | wc -l)" ] ||
		die "cannot read each row of src/profile/$1.rs"
	sort -C -n -u <<<"$table" || die "rows of src/profile/$1.rs are not in the order of their numbers"
	if [ "$(wc -l <<<"$names")" -lt "$2" ] || [ "$(wc -l <<<"$handled")" -lt "$3" ]; then
		die "cannot read the reasons from $uapi/$1.h or $kvm/$1/$1.c"
	fi
	diff -u --label "$uapi/$1.h" <(echo "$names") --label "src/profile/$1.rs" \
		<(awk -v isa="$1" 'NR == FNR { known[$1]; next } isa == "svm" || $1 in known { print $1, $2 }' \
			<(echo "$names") <(echo "$table")) ||
		die "names of exit reasons differ from the kernel's"
	diff -u --label "$kvm/$1/$1.c" <(echo "$handled") --label "src/profile/$1.rs" \
		<(awk '$3 == "Handled" { print $2 }' <<<"$table" | sort) ||
		die "handled exit reasons differ from the kernel's"
}

compare vmx 50 40
compare svm 140 70
