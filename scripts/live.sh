#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host in the emulator and a guest in QEMU on that host, runs exitprof in both,
# and looks for complaints in the kernels' logs. Prints KTAP.
set -euo pipefail
. "$(dirname "$0")/common.sh"

out=$build/live-$kernel_name-${EMULATOR:-auto}
"$top/scripts/boot/boot.sh" live "$out"
# The host has announced this result, too.
if "$build/judge" complaints "$out/console.log" "$out/results.log" >"$out/complaints"; then
	echo "ok 10 live.no_complaints"
else
	sed 's/^/# /' "$out/complaints"
	echo "not ok 10 live.no_complaints"
fi
