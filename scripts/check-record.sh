#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-record.sh OBJECT: what the module does at each exit must neither lock,
# nor call, nor touch memory other than its pointers and counters; nor, for VMX,
# branch (SVM's codes are several ranges), but for vCPUs without a profile.
set -euo pipefail
. "$(dirname "$0")/common.sh"

bad() {
	echo "$code" >&2
	die "$function $1"
}

# check VARIANT FORBIDDEN PERCPU OTHER: of the function for <SVM, VCPU, SPREAD>, with
# how often it touches per-CPU memory, and other memory.
check() {
	local forbidden=$2 percpu=$3 other=$4 symbol
	function="record::<$1>"
	symbol=$(symbol "$object" "$function")
	# Without the padding behind it.
	code=$(objdump -d --no-show-raw-insn --disassemble="$symbol" "$object" | sed '1,/>:$/d; /^$/,$d' |
		grep -vE '[[:space:]](int3|nop[lw]?|cs nopw|xchg +%ax,%ax)')
	! grep -qwE 'lock|cmpxchg|xchg|xadd' <<<"$code" || bad "has a locked instruction"
	! grep -qE "[[:space:]]($forbidden)[[:space:]]" <<<"$code" || bad "calls or branches"
	[ "$(grep -c '%gs:' <<<"$code")" = "$percpu" ] || bad "does not touch per-CPU memory $percpu times"
	[ "$(grep '(%' <<<"$code" | grep -cvE '%gs:|lea |\(%rip\)')" = "$other" ] || bad "touches other memory"
	say "$function: $(sed '/[[:space:]]ret/,$d' <<<"$code" | grep -c .) instructions and a return, none locked, no call"
}

object=$1
call=call any='j[a-z]+'
# The vCPU's pointer, and its two counters; or two of the CPU's, if it has none.
vcpu=3 unattributed=2
# Where the cycles are the least or the most, and where the vCPU has no profile.
check "false, false, false" "$call|$any" 2 0
check "false, false, true" "$call|j(a|b|e|ne|mp)" 7 0
check "false, true, false" "$call|j([^e]|e[a-z])[a-z]*" $((2 + unattributed)) $vcpu
check "false, true, true" "$call|j(a|b|ne|mp)" $((7 + unattributed)) $vcpu
# SVM's codes are several ranges, and its distributions two parts.
check "true, false, false" "$call" 2 0
check "true, false, true" "$call" 7 1
check "true, true, false" "$call" $((2 + unattributed)) $vcpu
check "true, true, true" "$call" $((7 + unattributed)) $((vcpu + 1))
