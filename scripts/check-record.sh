#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-record.sh OBJECT: what the module does at each exit must neither lock,
# nor call, nor touch memory other than its pointer and counters; nor, for VMX,
# branch (SVM's codes are several ranges).
set -euo pipefail
. "$(dirname "$0")/common.sh"

bad() {
	echo "$code" >&2
	die "profiler::$function $1"
}

check() {
	function=$1
	local branch=$2 symbol
	symbol=$(nm "$object" | awk -v name="profiler[0-9]*$function\$" '$3 ~ name { print $3 }')
	[ -n "$symbol" ] || die "there is no profiler::$function in $object"
	# Up to its return, what follows is padding.
	code=$(objdump -d --no-show-raw-insn --disassemble="$symbol" "$object" | sed '1,/>:$/d; /[[:space:]]ret/,$d')
	! grep -qwE 'lock|cmpxchg|xchg|xadd' <<<"$code" || bad "has a locked instruction"
	! grep -qE "[[:space:]]($branch)[[:space:]]" <<<"$code" || bad "calls or branches"
	[ "$(grep -c '%gs:' <<<"$code")" = 2 ] || bad "should touch per-CPU memory twice"
	[ "$(grep -c '(%' <<<"$code")" = "$(grep -cE '%gs:|lea |\(%rip\)' <<<"$code")" ] || bad "touches other memory"
	say "profiler::$function: $(grep -cE '^ +[0-9a-f]+:' <<<"$code") instructions and a return, none locked, no call"
}

object=$1
check record_vmx 'call|j[a-z]+'
check record_svm 'call'
