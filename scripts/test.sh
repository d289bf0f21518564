#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test.sh [all|debug|soak]: checks, the model's tests, the demo, and end to end in
# the emulator, or only these, on kernels that look for errors, or for hours. Needs
# the kernels (kernel.sh). Results are KTAP lines; the last line sums up.
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
	"$top/scripts/cargo.sh" test --locked --workspace --exclude e2e --exclude layers 2>&1 | tee "$build/cargo.log" |
		sed -n 's/^test \(.*\) \.\.\. ok$/ok model.\1/p; s/^test \(.*\) \.\.\. FAILED$/not ok model.\1/p
			s/^test \(.*\) \.\.\. ignored.*/ok model.\1 # SKIP ignored/p'
}

model_results() {
	model >"$build/model.lines" || cat "$build/cargo.log" >&2
	echo "1..$(sed -n 's/^running \([0-9]*\) tests\?$/\1/p' "$build/cargo.log" | paste -sd+ | bc)"
	cat "$build/model.lines"
}

all() {
	step build.module make modules
	step build.tool scripts/tool.sh
	step build.e2e scripts/tool.sh e2e
	results check scripts/check.sh build/kernel
	results model model_results
	results e2e.vmx e2e "${EMULATOR:-auto}" 2
	results e2e.svm e2e tcg 2
	# What depends on the number of CPUs.
	results e2e.vmx.1cpu e2e "${EMULATOR:-auto}" 1 "${many[@]}"
	# Not what changes code under load, which QEMU does not stand on many CPUs.
	results e2e.svm.4cpus e2e tcg 4 smp. fuzz.frozen fuzz.counting
	results live.vmx tests/live/run.sh
	results live.svm env EMULATOR=tcg tests/live/run.sh
	costs
	step demo scripts/demo.sh
	step demo.svm env EMULATOR=tcg scripts/demo.sh
}

many=(smp. unload. sleep. total. recording. fuzz. log.flood)

# Without peers, whose packages and time few changes are worth.
costs() {
	results cost scripts/bench.sh lean unpatched absent recording_off loaded per_vcpu histograms
}

# e2e EMULATOR CPUS [NAME...]
e2e() {
	EMULATOR=$1 CPUS=$2 scripts/e2e.sh kernel kvm_exitprof.ko test "${@:3}"
}

# end_to_end EMULATOR FLAVOUR MODE
end_to_end() {
	step "build.$2" scripts/module.sh "$2"
	results "e2e.$2.$1" env "EMULATOR=$1" scripts/e2e.sh "$2" "build/$2-module/kvm_exitprof.ko" "$3"
}

debug() {
	step build.e2e scripts/tool.sh e2e
	end_to_end tcg debug test
	end_to_end tcg kcsan test
	end_to_end auto debug-vmx test
}

soak() {
	step build.e2e scripts/tool.sh e2e
	end_to_end tcg kernel soak
	end_to_end auto kernel soak
}

mkdir -p "$build"
cd "$top"
"${1:-all}"

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
