#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-scale.sh: how costs grow with CPUs, on the lean kernel that bench.sh has
# built: in Bochs, whose figures are instructions, in QEMU's emulator, whose CPUs
# run side by side and whose figures are good for ratios only, and recording alone
# on the CPUs of this machine, in nanoseconds. The result is build/bench/scale.txt,
# lines that begin with where they come from.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# run EMULATOR CPUS POSSIBLE
run() {
	say "$1: $2 CPUs of $3 possible"
	EMULATOR=$1 CPUS=$2 APPEND=possible_cpus=$3 \
		"$top/scripts/e2e.sh" lean "$build/lean-module/kvm_exitprof.ko" scale | sed "/^complete/d; s/^/$1 /"
}

{
	for possible in 1 8; do
		run bochs 1 $possible
	done
	run bochs 2 2
	run tcg 4 5 # CPU 0 comes on top: see emulate.sh
	say "native"
	"$top/scripts/build/cargo.sh" run --quiet --release --locked --package bench -- native | sed 's/^/native /'
} | tee "$build/bench/scale.txt"
