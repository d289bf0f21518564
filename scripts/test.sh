#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All tests: checks, the model's, the demo, and end to end in the emulator.
# Needs the kernel (make kernel). Results are KTAP lines; the last line sums up.
set -euo pipefail
. "$(dirname "$0")/common.sh"

passed=0 failed=0 skipped=0

# count <OUTPUT: shows it, and counts the KTAP result lines in it.
count() {
	local line
	while IFS= read -r line; do
		printf '%s\n' "$line"
		case $line in
		"ok "*"# SKIP"*) skipped=$((skipped + 1)) ;;
		"ok "*) passed=$((passed + 1)) ;;
		"not ok "*) failed=$((failed + 1)) ;;
		esac
	done
}

# step NAME COMMAND...: one result for the command as a whole.
step() {
	local name=$1
	shift
	say "$name"
	if "$@" >"$build/$name.log" 2>&1; then
		count <<<"ok $name"
	else
		tail -n 60 "$build/$name.log" | sed 's/^/# /'
		count <<<"not ok $name"
	fi
}

# results NAME COMMAND...: the command's own KTAP lines, which must be as many as
# its plan says, or something ended it before its time.
results() {
	local name=$1 plan
	shift
	say "$name"
	"$@" >"$build/$name.log" 2>"$build/$name.err" || true
	count <"$build/$name.log"
	plan=$(sed -n 's/^1\.\.\([0-9]*\)$/\1/p' "$build/$name.log")
	if [ "$(grep -cE '^(not )?ok ' "$build/$name.log")" != "${plan:-none}" ]; then
		tail -n 60 "$build/$name.err" | sed 's/^/# /'
		count <<<"not ok $name ended early"
	fi
}

# cargo's lines for tests, as KTAP.
model() {
	"$top/scripts/cargo.sh" test --locked --package kvm-exitprof 2>&1 | tee "$build/cargo.log" |
		sed -n 's/^test \(.*\) \.\.\. ok$/ok model.\1/p; s/^test \(.*\) \.\.\. FAILED$/not ok model.\1/p
			s/^test \(.*\) \.\.\. ignored.*/ok model.\1 # SKIP ignored/p'
}

model_results() {
	model >"$build/model.lines" || cat "$build/cargo.log" >&2
	echo "1..$(sed -n 's/^running \([0-9]*\) tests\?$/\1/p' "$build/cargo.log" | paste -sd+ | bc)"
	cat "$build/model.lines"
}

mkdir -p "$build"
cd "$top"
step build.module make modules
step build.tool scripts/tool.sh
step build.e2e scripts/tool.sh e2e
results check scripts/check.sh build/kernel
results model model_results
results e2e scripts/e2e.sh kernel kvm_exitprof.ko test
step demo scripts/demo.sh

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
