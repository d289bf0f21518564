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
	die "profiler::$function $1"
}

# check FUNCTION FORBIDDEN OTHER: OTHER is how often it touches memory that is
# not per-CPU.
check() {
	function=$1
	local branch=$2 other=$3 symbol
	symbol=$(nm "$object" | awk -v name="profiler[0-9]*$function\$" '$3 ~ name { print $3 }')
	[ -n "$symbol" ] || die "there is no profiler::$function in $object"
	# Up to its return, what follows is padding.
	code=$(objdump -d --no-show-raw-insn --disassemble="$symbol" "$object" | sed '1,/>:$/d; /[[:space:]]ret/,$d')
	! grep -qwE 'lock|cmpxchg|xchg|xadd' <<<"$code" || bad "has a locked instruction"
	! grep -qE "[[:space:]]($branch)[[:space:]]" <<<"$code" || bad "calls or branches"
	[ "$(grep -c '%gs:' <<<"$code")" = 2 ] || bad "should touch per-CPU memory twice"
	[ "$(grep '(%' <<<"$code" | grep -cvE '%gs:|lea |\(%rip\)')" = "$other" ] || bad "touches other memory"
	say "profiler::$function: $(grep -cE '^ +[0-9a-f]+:' <<<"$code") instructions and a return, none locked, no call"
}

object=$1
check record_vmx 'call|j[a-z]+' 0
check record_svm 'call' 0
# The vCPU's pointer and its two counters.
check record_vmx_vcpu 'call|j([^e]|e[a-z])[a-z]*' 3
check record_svm_vcpu 'call' 3
