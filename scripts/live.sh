#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host that tests something in it, and looks for complaints in the kernels' logs.
# KTAP on stdout.
#
#	live.sh			exitprof, on the host and in a guest in QEMU
#	live.sh install		install.sh, on a host with a distribution's kernel
set -euo pipefail
. "$(dirname "$0")/common.sh"

scenario=${1:-live}
out=$build/$scenario-$kernel_name-${EMULATOR:-auto}
arguments=(--perf)
if [ "$scenario" = install ]; then
	kernel=$build/$kernel_name
	arguments=(--kmod "$top/scripts/install.sh:/" "$kernel/debian-version.h:/")
	for module in "$kernel"/unpatched/*.ko; do
		arguments+=("$module:/stock/")
	done
fi
iso=$("$top/scripts/boot/boot.sh" --image "$scenario" "${arguments[@]}")
"$top/scripts/boot/emulate.sh" --timeout 1800 "$iso" "$out"
# The last result that the host has announced.
number=$(sed -n 's/^1\.\.//p' "$out/results.log")
if "$build/judge" complaints "$out/console.log" "$out/results.log" >"$out/complaints"; then
	echo "ok $number $scenario.no_complaints"
else
	sed 's/^/# /' "$out/complaints"
	echo "not ok $number $scenario.no_complaints"
fi
