#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# all.sh [PROGRAM...]: builds what emulated machines need: the kernel, the module,
# packages, and programs of the workspace (default: exitprof and judge, for the demo). The
# kernel's build takes longest and leaves CPUs idle at times, so the rest is built beside it.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# -gt 0 ] || set -- exitprof judge
mkdir -p "$build" "$cache"

# beside NAME COMMAND...: runs the command in the background. It prints to build/NAME.log.
declare -A begun
beside() {
	"${@:2}" >"$build/$1.log" 2>&1 &
	begun[$1]=$!
}

# ended NAME: waits for that command.
ended() {
	local polls=0
	while kill -0 "${begun[$1]}" 2>/dev/null; do
		polls=$((polls + 1))
		[ $polls != 20 ] || say "waiting for $1"
		sleep 0.1
	done
	wait "${begun[$1]}" || {
		tail -n 30 "$build/$1.log" >&2
		die "$1 failed: the whole log is $build/$1.log"
	}
}

# What emulated machines have in them, and QEMU, if it is to emulate them.
packages() {
	"$top/scripts/build/packages.sh"
	case $("$top/scripts/boot/emulate.sh" --which) in
	tcg*) "$top/scripts/build/packages.sh" --backports qemu-system-x86 ;;
	esac
}

trap '[ ${#begun[@]} = 0 ] || kill "${begun[@]}" 2>/dev/null || true' EXIT
# Fetches the kernel's source while packages are installed. xz may be one of them.
! command -v xz >/dev/null || [ "$kernel_name" != kernel ] || beside source "$top/scripts/build/kernel.sh" source
"$top/scripts/build/deps.sh"
beside programs "$top/scripts/build/tool.sh" "$@"
beside packages packages
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
