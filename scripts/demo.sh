#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots the patched kernel in an emulator, loads the profiler, starts a guest that reads
# the leaves by Debian's cpuid tool, and compares its answers with the host's log. "make
# demo" builds what this needs.
set -euo pipefail
. "$(dirname "$0")/common.sh"

out=build/demo-$kernel_name # relative, since the user sees it
cd "$top"
say "booting the host, and a guest in it: about 15 s on an idle machine"
# Only the judge reads the guest's log.
scripts/boot/boot.sh demo "$out" | while IFS= read -r line; do
	[[ $line == "guest log: "* ]] || printf '[%4ds] %s\n' $SECONDS "$line"
done
build/judge demo "$out/results.log" "$out/console.log" || die "the demo failed (logs in $out)"
