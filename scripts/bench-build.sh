#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-build.sh: how long it takes from a clone to the demo's answer, with nothing
# in the cache but what is downloaded on the way, and again with it: lines
# `demo RUN SECONDS CPUS` in build/bench/build.txt.
set -euo pipefail
. "$(dirname "$0")/common.sh"

mkdir -p "$build/bench"
tmp=$(mktemp -d "$build/bench/clone.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
export KVM_EXITPROF_CACHE=$tmp/cache

git clone --quiet "$top" "$tmp/clone"
for run in first second; do
	say "the $run demo: its log is build/bench/demo-$run.log"
	start=$SECONDS
	make -C "$tmp/clone" demo >"$build/bench/demo-$run.log" 2>&1 || {
		tail -n 30 "$build/bench/demo-$run.log" >&2
		die "the demo failed"
	}
	echo "demo $run $((SECONDS - start)) $(nproc)"
done | tee "$build/bench/build.txt"
