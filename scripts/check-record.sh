#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-record.sh OBJECT: what the module does at each exit must neither lock, nor
# call, nor loop, nor touch memory other than the sample, its pointers and counters.
set -euo pipefail
. "$(dirname "$0")/common.sh"

bad() {
	echo "$code" >&2
	die "$function $1"
}

# code_of FUNCTION [cold]: its machine code, without the padding behind it, in $code. It must
# neither lock nor call, nor loop; if it is cold, the compiler lays it out in any order.
code_of() {
	local symbol
	function=$1
	symbol=$(symbol "$object" "$function")
	code=$(objdump -d --no-show-raw-insn --disassemble="$symbol" "$object" | sed '1,/>:$/d; /^$/,$d' |
		grep -vE '[[:space:]](int3|nop[lw]?|cs nopw|xchg +%ax,%ax)')
	! grep -qwE 'lock|cmpxchg|xchg|xadd' <<<"$code" || bad "has a locked instruction"
	! grep -qE '[[:space:]]call[[:space:]]' <<<"$code" || bad "calls"
	[ "${2-}" = cold ] || perl -ne 'exit 1 if /^\s*([0-9a-f]+):\s+j\w+\s+([0-9a-f]+)/ && hex $2 <= hex $1' <<<"$code" ||
		bad "jumps back"
}

# told: says that a function is as it should be.
told() {
	say "$function: at most $(sed '/[[:space:]]ret/,$d' <<<"$code" | grep -c .) instructions and a return, none locked, no call"
}

# check FUNCTION PERCPU OTHER: with how often it touches per-CPU memory, and other
# memory; both have those for vCPUs without a profile, too.
check() {
	local percpu=$2 other=$3
	code_of "$1"
	[ "$(grep -c '%gs:' <<<"$code")" = "$percpu" ] || bad "does not touch per-CPU memory $percpu times"
	[ "$(grep '(%' <<<"$code" | grep -cvE '%gs:|lea |\(%rip\)')" = "$other" ] || bad "touches other memory"
	told
}

object=$1
for isa in false true; do
	# SVM's histograms are in two parts, whose pointers are chosen from.
	part=0
	[ $isa = false ] || part=1
	# The sample's reason. Two counters of the CPU; and two of the vCPU, or two more of the
	# CPU's. A histogram takes a look at, and perhaps a change of, minimum and maximum, and
	# a bucket.
	check "record::<$isa, false, false>" 2 1
	check "record::<$isa, false, true>" $((2 + 5)) $((1 + part))
	check "record::<$isa, true, false>" $((2 + 2)) $((1 + 2))
	check "record::<$isa, true, true>" $((2 + 5 + 2)) $((1 + 2 + part))
	# Two counters and four totals of the CPU. The sample's times; the phases' pointer; the last
	# time and the current cell, read and written; the guest, and three cells.
	phases=$((3 + 1 + 2 + 2 + 1 + 3))
	check "record_phases::<$isa, false>" $((2 + 4)) $((1 + 2 + phases))
	check "record_phases::<$isa, true>" $((2 + 5 + 4)) $((1 + 2 + part + phases))
	check "record_untimed::<$isa, false>" 2 1
	check "record_untimed::<$isa, true>" $((2 + 2)) $((1 + 2))
done

# With details. What it does for a new key, or for a nested guest, is in functions of their own.
for isa in false true; do
	for histograms in false true; do
		code_of "record_rare::<$isa, true, $histograms>" cold
		told
	done
	code_of "record_rare_untimed::<$isa, true>" cold
	told
done
