#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The whole thing on the real thing: boots the patched kernel in an emulator, loads the
# profiler, starts a nested guest that reads the leaves by Debian's cpuid tool, and
# compares the guest's answers with the host's log. Needs what "make demo" builds.
set -euo pipefail
. "$(dirname "$0")/common.sh"

out=build/demo-$kernel_name # as it is told the user
cd "$top"
say "booting the host, and a guest in it: about 15 s on an idle machine"
# What is marked is for the judge only.
scripts/boot/boot.sh demo $out | while IFS= read -r line; do
	[[ $line == "guest log: "* ]] || printf '[%4ds] %s\n' $SECONDS "$line"
done
build/judge demo $out/results.log $out/console.log || die "the demo is not as it should be (logs in $out)"
