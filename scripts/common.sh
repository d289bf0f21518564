# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What every script here shares: where things are, and how to speak to the user.
# Sourced, never run.
# shellcheck disable=SC2034

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
# Everything expensive is kept outside the clone, keyed by its inputs. Safe to delete.
cache=$(realpath -m "${KVM_EXITPROF_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kvm-exitprof}")

# say MESSAGE: progress, with the seconds since the script began.
say() {
	printf '[%4ds] %s\n' "$SECONDS" "$*" >&2
}

# die MESSAGE: an error that says what to do, and the end.
die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# logged LOG COMMAND...: runs the command with its output in LOG, and shows the end of
# that if it fails.
logged() {
	local status log=$1
	shift
	# In a condition, the shell would ignore failures inside the command.
	set +e
	(
		set -e
		"$@"
	) >"$log" 2>&1
	status=$?
	set -e
	[ $status = 0 ] || {
		tail -n 30 "$log" >&2
		die "$1 failed: the whole log is $log"
	}
}

# as_tests FAMILY NAME...: calls these functions, each as the test FAMILY.NAME, and prints KTAP
# with what they print, which is in the file output of the folder $tmp meanwhile. Fails if one
# of them does.
# shellcheck disable=SC2154 # the script has $tmp
as_tests() {
	local family=$1 name status number=0 failed=0
	shift
	echo "1..$#"
	for name; do
		number=$((number + 1))
		# Not as a condition, in which the shell would go on after a failure.
		set +e
		(
			set -e
			"$name"
		) >"$tmp/output" 2>&1
		status=$?
		set -e
		if [ $status = 0 ]; then
			echo "ok $number $family.$name"
		else
			echo "not ok $number $family.$name"
			failed=1
		fi
		sed 's/^/# /' "$tmp/output"
	done
	return $failed
}

# symbol OBJECT FUNCTION: what the function is called in it, which is named as a
# programmer would, such as vmx_handle_exit or record::<true, true, false>.
symbol() {
	local found
	found=$(paste <(nm "$1") <(nm -C "$1") | sed -n "s/^[^ ]* [tT] \([^\t]*\)\t[^ ]* [tT] \(.*::\)\?$2\$/\1/p")
	[ -n "$found" ] || die "there is no $2 in $1"
	echo "$found"
}

# The kernel that demo and tests are for, in build/, and the module for it.
kernel_name=${KERNEL:-6.1}
[ "$kernel_name" != 6.1 ] || kernel_name=kernel
module_for_kernel=$build/$kernel_name-module/kvm_exitprof.ko
[ "$kernel_name" != kernel ] || module_for_kernel=$top/kvm_exitprof.ko

# command_line NAME: what a machine's kernel build/NAME is told. Kernels after 6.1 warn
# of what Bochs' CPUs say of hyper-threading.
command_line() {
	echo "console=ttyS0 quiet mitigations=off nokaslr no_timer_check panic=-1 reboot=t" \
		"$(case $1 in [6-9].*) echo clearcpuid=ht ;; esac)"
}

# The kernel's Rust is tied to one rustc: by default the distribution's, whatever
# stands before it in PATH. Each can be set in the environment.
export RUSTC=${RUSTC:-/usr/bin/rustc} RUSTDOC=${RUSTDOC:-/usr/bin/rustdoc}
export RUSTFMT=${RUSTFMT:-/usr/bin/rustfmt} BINDGEN=${BINDGEN:-/usr/bin/bindgen}
kernel_tools=(
	LLVM=1 "RUSTC=$RUSTC" "HOSTRUSTC=$RUSTC" "RUSTDOC=$RUSTDOC"
	"RUSTFMT=$RUSTFMT" "BINDGEN=$BINDGEN"
)
