#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# check-record.sh OBJECT: what the module does at each exit must neither lock,
# nor call, nor branch, nor touch memory other than its pointer and counters.
set -euo pipefail
. "$(dirname "$0")/common.sh"

symbol=$(nm "$1" | awk '$3 ~ /profiler6record$/ { print $3 }')
[ -n "$symbol" ] || die "there is no profiler::record in $1"
# Up to its return, what follows is padding.
code=$(objdump -d --no-show-raw-insn --disassemble="$symbol" "$1" | sed '1,/>:$/d; /[[:space:]]ret/,$d')

bad() {
	echo "$code" >&2
	die "profiler::record $1"
}
! grep -qwE 'lock|cmpxchg|xchg|xadd' <<<"$code" || bad "has a locked instruction"
! grep -qE '[[:space:]](call|j[a-z]+)[[:space:]]' <<<"$code" || bad "calls or branches"
[ "$(grep -c '%gs:' <<<"$code")" = 2 ] || bad "should touch per-CPU memory twice"
say "profiler::record: $(grep -cE '^ +[0-9a-f]+:' <<<"$code") instructions and a return, none locked, none a branch"
