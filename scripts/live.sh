#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# exitprof on real machines: boots a host in the emulator, and a guest of it in QEMU,
# has exitprof run in both, and looks for complaints in the kernels' logs. KTAP on
# stdout.
set -euo pipefail
. "$(dirname "$0")/common.sh"

out=$build/live-$kernel_name-${EMULATOR:-auto}
"$top/scripts/boot/boot.sh" live "$out"
# The last result that the host has announced.
if "$build/judge" complaints "$out/console.log" "$out/results.log" >"$out/complaints"; then
	echo "ok 10 live.no_complaints"
else
	sed 's/^/# /' "$out/complaints"
	echo "not ok 10 live.no_complaints"
fi
