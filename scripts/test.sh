#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds what tests need, and runs them.
#
#	test.sh [all]		all tests
#	test.sh debug|soak	the end-to-end tests on debug kernels, which kernel.sh must
#				have built; or for hours, and the tool with random input
#	test.sh NAME...		the tests whose names start with one of these
#
# model.NAME, tool.NAME, bench.NAME, judge.NAME and prometheus.NAME are the cargo tests of a crate.
# check.NAME is a check of check.sh. live., install., scrape., deb., cost., demo and kvm always run as
# a whole.
# All other names are end-to-end tests: on VMX, or on SVM with EMULATOR=tcg.
#
# Prints KTAP to stdout and progress to stderr. The last line sums up.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The other tests of the last one are checks.
declare -A crates=([model]=profile [tool]=exitprof [bench]=bench [judge]="judge --lib" [prometheus]="prometheus-tests --test prometheus")
families=(model tool bench judge prometheus check live install scrape deb cost demo kvm)

# --- the plan

plan=() total=0
declare -A running=()
# step MINUTES NAME KIND COMMAND...: plans a step. It takes about MINUTES on 2 cores. KIND
# is a function below: whole or results; beside results, if others may run meanwhile, until a
# step "joined NAME".
step() {
	plan+=("$*")
	total=$((total + $1))
}

# kernel_minutes FLAVOUR: how long its build takes.
kernel_minutes() {
	if [ -e "$build/$1" ]; then echo 1; else echo 8; fi
}

# build: plans the build of what emulated machines need, once.
build() {
	[[ " ${plan[*]} " == *" build whole "* ]] ||
		step "$(kernel_minutes "$kernel_name")" build whole scripts/build/all.sh exitprof e2e judge
}

# The kernel for measurements.
lean=lean
[ "$kernel_name" != 6.12 ] || lean=6.12-lean

# cost: plans the measurement of our own costs. Peers would take more packages and time
# than most changes are worth.
cost() {
	step "$(kernel_minutes "$lean")" "build.$lean" whole scripts/build/kernel.sh "$lean"
	step 4 cost results scripts/bench.sh "$lean" unpatched absent recording_off loaded per_vcpu histograms phases details
}

run_plan() {
	local line minutes name command number=0
	say "${#plan[@]} steps, about $total min on 2 cores"
	for line in "${plan[@]}"; do
		read -r minutes name command <<<"$line"
		number=$((number + 1))
		printf '[step %d of %d, %dm%02ds elapsed, about %d min for this one] %s\n' "$number" "${#plan[@]}" \
			$((SECONDS / 60)) $((SECONDS % 60)) "$minutes" "$name" >&2
		read -r -a command <<<"$command"
		"${command[0]}" "$name" "${command[@]:1}"
	done
}

# --- kinds of steps

# beside NAME KIND COMMAND...: begins a step, which leaves a core to others.
beside() {
	local name=$1
	"$2" "$name" "${@:3}" >"$build/$name.ktap" &
	running[$name]=$!
}

# joined NAME BESIDE: waits for the step that has begun, and has its results.
joined() {
	wait "${running[$2]}" || true
	cat "$build/$2.ktap"
}

# whole NAME COMMAND...: the command is one test. Its stderr is shown. If a build fails,
# the rest of the plan cannot run.
whole() {
	local name=$1 log=$build/$1.log
	shift
	: >"$log"
	# shellcheck disable=SC2094 # both append
	if "$@" 2>&1 >>"$log" | tee -a "$log" >&2; then
		echo "ok $name"
	else
		tail -n 60 "$log" | sed 's/^/# /'
		echo "not ok $name"
		[[ $name != build* ]] || exit 1
	fi
}

# results NAME COMMAND...: the command prints KTAP itself. Fewer results than its plan
# announces are a failure, too: the machine may have died.
results() {
	local name=$1
	shift
	{ "$@" 2>"$build/$name.err" || true; } | tee "$build/$name.log" | "$build/judge" results "$name" ||
		tail -n 60 "$build/$name.err" | sed 's/^/# /'
}

# --- commands of steps

# cargo_test FAMILY [NAME...]: all tests of the family's crate, or these.
cargo_test() {
	local family=$1 exact=()
	shift
	[ $# = 0 ] || exact=(--exact "${@#"$family".}")
	# shellcheck disable=SC2086
	{ scripts/build/cargo.sh test --locked --no-fail-fast --package ${crates[$family]} -- "${exact[@]}" || true; } |
		"$build/judge" libtest "$family."
}

# fuzz SECONDS: the tool's tests with random input, each for so long.
fuzz() {
	{ EXITPROF_FUZZ_SECONDS=$1 scripts/build/cargo.sh test --locked --no-fail-fast --package exitprof -- fuzz:: || true; } |
		"$build/judge" libtest tool.
}

# e2e EMULATOR CPUS [NAME...]
e2e() {
	EMULATOR=$1 CPUS=$2 scripts/e2e.sh "$kernel_name" "$module_for_kernel" test "${@:3}"
}

# on KERNEL COMMAND...: does it for that kernel.
on() {
	local -x KERNEL=$1
	local kernel_name=$1 module_for_kernel=$build/$1-module/kvm_exitprof.ko
	"${@:2}"
}

# with EMULATOR COMMAND...
with() {
	EMULATOR=$1 "${@:2}"
}

# --- which steps

# begin NAME COMMAND...: plans end-to-end tests beside other steps: Bochs emulates all CPUs on
# one. QEMU does not, and needs the folder of its machine to itself.
begin() {
	if [ "$vmx" = tcg ]; then
		step 5 "$1" results "${@:2}"
	else
		step 0 "$1" beside results "${@:2}"
	fi
}

# end MINUTES NAME: plans to wait for these tests.
end() {
	[ "$vmx" = tcg ] || step "$1" "$2.joined" joined "$2"
}

vmx=${EMULATOR:-auto}
# Tests that depend on the number of CPUs.
many=(smp. unload. sleep. total. recording. fuzz. log.flood)

all() {
	local family
	build
	step 2 check results scripts/check.sh "build/$kernel_name"
	if [ "$kernel_name" != kernel ]; then
		machines
		[ "$kernel_name" = 7.3 ] || cost
		run_plan
		return
	fi
	for family in model tool bench judge; do
		step 1 "$family" results cargo_test "$family"
	done
	step 1 prometheus results scripts/prometheus.sh
	machines
	# Debian's own kernel.
	step 4 build.7.3 whole on 7.3 scripts/build/all.sh
	step 1 check.7.3 results scripts/check.sh build/7.3
	begin e2e.7.3.vmx on 7.3 e2e "$vmx" 2
	cost
	step 2 kvm whole scripts/kvm.sh
	step 4 e2e.7.3.svm results on 7.3 e2e tcg 2
	step 1 live.7.3.svm results on 7.3 with tcg scripts/live.sh
	step 1 install results on 7.3 with tcg scripts/live.sh install
	step 2 scrape results on 7.3 with tcg scripts/scrape.sh
	step 8 deb results scripts/deb.sh
	end 1 e2e.7.3.vmx
	step 1 demo.7.3.svm whole on 7.3 with tcg scripts/demo.sh
	# The other kernel that is built here takes as long as 6.1: KERNEL=6.12 tests it.
	step 1 source.6.12 whole scripts/build/kernel.sh 6.12-source
	step 1 check.6.12 results scripts/check.sh build/6.12-source checkpatch git_am reasons msrs
	run_plan
}

# What is tested of a kernel on both kinds of machines.
machines() {
	begin e2e.vmx e2e "$vmx" 2
	step 7 e2e.svm results e2e tcg 2
	[ "$kernel_name" = kernel ] || step 3 e2e.svm.nrips results scripts/nrips.sh
	# QEMU does not survive tests that change code under load on many CPUs.
	step 1 e2e.svm.4cpus results e2e tcg 4 smp. fuzz.frozen fuzz.counting
	step 1 live.svm results with tcg scripts/live.sh
	step 1 demo.svm whole with tcg scripts/demo.sh
	end 5 e2e.vmx
	step 2 e2e.vmx.1cpu results e2e "$vmx" 1 "${many[@]}"
	step 1 live.vmx results scripts/live.sh
	step 1 demo whole scripts/demo.sh
}

# end_to_end EMULATOR FLAVOUR MODE MINUTES
end_to_end() {
	step 1 "build.$2" whole scripts/build/module.sh "$2"
	step "$4" "e2e.$2.$1" results with "$1" scripts/e2e.sh "$2" "build/$2-module/kvm_exitprof.ko" "$3"
}

debug() {
	step 2 build.programs whole scripts/build/tool.sh exitprof e2e judge
	end_to_end tcg debug test 30
	end_to_end tcg kcsan test 30
	end_to_end "$vmx" debug-vmx test 30
	run_plan
}

soak() {
	build
	step 11 tool.fuzz results fuzz 600
	end_to_end tcg kernel soak 240
	end_to_end "$vmx" kernel soak 240
	run_plan
}

# --- tests by name

# names FAMILY: the names of all its tests.
names() {
	case $1 in
	model | tool | bench | judge | prometheus)
		# shellcheck disable=SC2086
		scripts/build/cargo.sh test --quiet --locked --package ${crates[$1]} -- --list |
			sed -n "s/^\(.*\): test$/$1.\1/p"
		;;
	check) scripts/check.sh list ;;
	cost) printf "cost.$lean.%s\n" absent recording_off loaded per_vcpu histograms phases details locked regression ;;
	live | install)
		sed -n 's/^tests="\(.*\)"$/\1/p' "tests/live/$1.host" | tr ' ' '\n' | sed "s/^/$1./"
		;;
	scrape) printf 'scrape.%s\n' it_stores_what_the_host_counted no_complaints ;;
	deb) scripts/deb.sh list ;;
	demo | kvm) echo "$1" ;;
	e2e) "$build/e2e" list "$isa" ;;
	esac
}

# family NAME: the family of a test.
family() {
	local family=${1%%.*}
	[[ " ${families[*]} " == *" $family "* ]] || family=e2e
	echo "$family"
}

# some NAME...: the tests of all families whose names start with one of these.
some() {
	local name family emulator isa programs=(judge)
	local -A wanted chosen
	for name; do
		wanted[$(family "$name")]+=" $name"
	done
	[ -z "${wanted[e2e]-}" ] || programs+=(e2e)
	[ -z "${wanted[live]-}${wanted[demo]-}${wanted[kvm]-}" ] || programs+=(exitprof)
	read -r emulator isa < <(scripts/boot/emulate.sh --which)
	say "tests: $*; emulator: $emulator, with ${isa^^}"
	scripts/build/tool.sh "${programs[@]}"
	for family in "${families[@]}" e2e; do
		[ -n "${wanted[$family]-}" ] || continue
		names "$family" >"$build/names"
		# shellcheck disable=SC2086 # names are words
		chosen[$family]=$("$build/judge" names --family "${families[@]/%/.}" -- ${wanted[$family]} <"$build/names") || exit
		say "$family: $(wc -w <<<"${chosen[$family]}") of $(wc -l <"$build/names") tests"
	done
	for family in "${families[@]}" e2e; do
		# shellcheck disable=SC2086
		[ -z "${wanted[$family]-}" ] || plan_family "$family" ${chosen[$family]}
	done
	run_plan
}

# plan_family FAMILY NAME...: plans these tests. Uses the variables of some().
plan_family() {
	local family=$1
	shift
	case $family in
	check)
		! printf '%s\n' "$@" | grep -qxFf <(scripts/check.sh list build) || build
		step $((1 + $# / 10)) check results scripts/check.sh "build/$kernel_name" "$@"
		;;
	cost) cost ;;
	live)
		build
		step 1 "live.$isa" results scripts/live.sh
		;;
	install)
		step 4 build.7.3 whole on 7.3 scripts/build/all.sh
		step 1 install results on 7.3 with tcg scripts/live.sh install
		;;
	scrape)
		step 4 build.7.3 whole on 7.3 scripts/build/all.sh
		step 2 scrape results on 7.3 with tcg scripts/scrape.sh
		;;
	deb) step 8 deb results scripts/deb.sh ;;
	demo)
		build
		step 1 "demo.$isa" whole scripts/demo.sh
		;;
	prometheus) step 1 prometheus results scripts/prometheus.sh "$@" ;;
	kvm)
		build
		step 2 kvm whole scripts/kvm.sh
		;;
	e2e)
		build
		# A kernel's command line is too short for all full names.
		# shellcheck disable=SC2086
		step $((1 + 6 * $# / $(names e2e | wc -l))) "e2e.$isa" results e2e "$vmx" 2 ${wanted[e2e]}
		;;
	*) step 1 "$family" results cargo_test "$family" "$@" ;;
	esac
}

mkdir -p "$build"
cd "$top"
case ${1:-all} in
all | debug | soak) run=("${1:-all}") ;;
*) run=(some "$@") ;;
esac
"${run[@]}" | tee "$build/test.ktap"
"$build/judge" sum "$build/test.ktap"
