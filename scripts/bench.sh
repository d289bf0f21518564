#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an exit costs, in instructions, with and without the profiler: on a kernel
# that has as little else as can be, in Bochs, whose TSC counts instructions.
set -euo pipefail
. "$(dirname "$0")/common.sh"

"$top/scripts/kernel.sh" lean
"$top/scripts/module.sh" lean
"$top/scripts/tool.sh" e2e

say "measuring"
mkdir -p "$build/bench"
EMULATOR=bochs "$top/scripts/e2e.sh" lean "$build/lean-module/kvm_exitprof.ko" cost >"$build/bench/cost.txt"
cat "$build/bench/cost.txt"
