#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Shows that the tests bite: puts one fault at a time into a scratch copy of the
# patched KVM, of the module or of the model, and demands that the tests named
# with it fail. Needs what "make test" has built.
#
#	mutate.sh [NAME...]	all faults, or those with these names
#
# The list is tests/faults. Results are KTAP lines.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/build/kvm-copy.sh"

kdir=$build/kernel
scratch=$build/mutate
chosen=("$@")
number=0 failed=0

# Sources as they are.
prepare() {
	copy_kvm "$kdir" "$scratch/kvm"
	git -C "$top" ls-files --cached --others --exclude-standard | while read -r file; do
		[ ! -f "$top/$file" ] || refresh "$top/$file" "$scratch/project/$file"
	done
}

build_module() {
	"$top/scripts/build/make.sh" "$kdir" M="$scratch/project" modules
}

# run_tests TEST...: results of the model's and the tool's tests, of checks, and of the rest in
# the emulator, as KTAP lines.
run_tests() {
	local test e2e=() svm=()
	for test; do
		case $test in
		model.*) cargo_test profile "$test" ;;
		tool.*) cargo_test exitprof "$test" ;;
		check.reasons | check.msrs) check "$test" cargo run --package judge -- "${test#check.}" "$kdir/source" ;;
		check.record) check "$test" scripts/check-record.sh kvm_exitprof.ko ;;
		svm.*) svm+=("${test#svm.}") ;;
		*) e2e+=("$test") ;;
		esac
	done
	[ ${#e2e[@]} = 0 ] || end_to_end "${EMULATOR:-auto}" "${e2e[@]}"
	[ ${#svm[@]} = 0 ] || end_to_end tcg "${svm[@]}" | sed 's/^\(.*ok [0-9]* \)/\1svm./'
}

# end_to_end EMULATOR TEST...: with the tool that has the fault, if it is there.
end_to_end() {
	local exitprof=$build/exitprof
	case $file in
	"$scratch"/project/src/tool/*)
		"$scratch/project/scripts/build/tool.sh" exitprof >&2 || return
		exitprof=$scratch/project/build/exitprof
		;;
	esac
	EMULATOR=$1 PATCHED_KVM=$scratch/kvm/arch/x86/kvm EXITPROF=$exitprof \
		"$top/scripts/e2e.sh" kernel "$scratch/project/kvm_exitprof.ko" test "${@:2}" || true
}

check() {
	if (cd "$scratch/project" && "${@:2}") >&2; then
		echo "ok 0 $1"
	else
		echo "not ok 0 $1"
	fi
}

# cargo_test PACKAGE TEST: one of its tests, without what is before the dot.
cargo_test() {
	check "$2" cargo test --package "$1" -- --exact "${2#*.}"
}

# cargo COMMAND ARGUMENT...
# shellcheck disable=SC2317 # check calls it
cargo() {
	timeout 300 env CARGO_TARGET_DIR="$scratch/cargo" scripts/build/cargo.sh "$1" --quiet --locked "${@:2}"
}

# fault NAME FILE CHANGE TEST...: see tests/faults.
fault() {
	local name=$1 file=$scratch/$2 change=$3 test verdict=caught
	shift 3
	[ ${#chosen[@]} = 0 ] || [[ " ${chosen[*]} " == *" $name "* ]] || return 0
	number=$((number + 1))
	cp -p "$file" "$scratch/original"
	perl -0pi -e "$change" "$file"
	if cmp -s "$file" "$scratch/original"; then
		verdict="not there: the change does not apply"
	elif ! { build_kvm "$kdir" "$scratch/kvm" && build_module; } >"$scratch/$name.build" 2>&1; then
		verdict="not there: does not build, see $scratch/$name.build"
	else
		run_tests "$@" >"$scratch/$name.log" 2>"$scratch/$name.err"
		for test; do
			grep -qE "^not ok [0-9]+ $test( |\$)" "$scratch/$name.log" ||
				verdict="missed by $test, see $scratch/$name.log"
		done
	fi
	# With a new time, for make.
	cp "$scratch/original" "$file"
	if [ "$verdict" = caught ]; then
		echo "ok $number $name # caught by $*"
	else
		echo "not ok $number $name # $verdict"
		failed=1
	fi
}

say "preparing"
prepare
{ build_kvm "$kdir" "$scratch/kvm" && build_module; } >"$scratch/build.log" 2>&1 || {
	tail -n 20 "$scratch/build.log" >&2
	die "KVM or the module does not build without a fault"
}

echo "KTAP version 1"
# shellcheck source=SCRIPTDIR/../tests/faults
. "$top/tests/faults"
echo "1..$number"
exit $failed
