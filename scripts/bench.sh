#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an exit costs, in instructions, with and without the profiler: on a kernel
# that has as little else as can be, in Bochs, whose TSC counts instructions.
set -euo pipefail
. "$(dirname "$0")/common.sh"

"$top/scripts/kernel.sh" lean
"$top/scripts/tool.sh" e2e

# The module at the top is for the other kernel.
module=$build/lean-module
mkdir -p "$module"
cp -r "$top/Kbuild" "$top/Cargo.toml" "$top/src" "$module"
make -C "$build/lean" M="$module" "${kernel_tools[@]}" modules >"$module/make.log" 2>&1 || {
	cat "$module/make.log" >&2
	die "the module does not build for build/lean"
}

say "measuring"
mkdir -p "$build/bench"
EMULATOR=bochs "$top/scripts/e2e.sh" lean "$module/kvm_exitprof.ko" cost >"$build/bench/cost.txt"
cat "$build/bench/cost.txt"
