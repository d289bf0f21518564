#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# all.sh [PROGRAM...]: builds all that an emulated machine needs, and programs of the
# workspace: exitprof and judge, for the demo, or these. The kernel takes longest, and
# now and then leaves CPUs idle: what it does not need is fetched and built beside it.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# -gt 0 ] || set -- exitprof judge
mkdir -p "$build" "$cache"

# beside NAME COMMAND...: begins it, with its output in build/NAME.log.
declare -A begun
beside() {
	"${@:2}" >"$build/$1.log" 2>&1 &
	begun[$1]=$!
}

# ended NAME: waits for it.
ended() {
	! kill -0 "${begun[$1]}" 2>/dev/null || say "waiting for $1"
	wait "${begun[$1]}" || {
		tail -n 30 "$build/$1.log" >&2
		die "$1 failed: the whole log is $build/$1.log"
	}
}

trap '[ ${#begun[@]} = 0 ] || kill "${begun[@]}" 2>/dev/null || true' EXIT
# Missing packages are installed meanwhile. But xz may be one of them.
! command -v xz >/dev/null || [ "$kernel_name" != kernel ] || beside source "$top/scripts/build/kernel.sh" source
"$top/scripts/build/deps.sh"
beside programs "$top/scripts/build/tool.sh" "$@"
beside packages "$top/scripts/build/packages.sh"
[ -z "${begun[source]-}" ] || ended source
"$top/scripts/build/kernel.sh" "$kernel_name"
if [ "$kernel_name" = kernel ]; then
	make -C "$top" --no-print-directory modules
else
	"$top/scripts/build/module.sh" "$kernel_name"
fi
ended programs
ended packages
begun=()
