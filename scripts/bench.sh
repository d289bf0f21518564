#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What an exit costs, with and without the profiler and with its peers.
#
#	bench.sh [FLAVOUR [SETUP...]]
#
#	FLAVOUR	"lean" or "6.12-lean", a kernel that has as little else as can be, which
#		most targets are for; or "distro", "kernel", or "7.3": see kernel.sh
#	SETUP	what to compare, of the table in tests/e2e/src/cost/setup.rs: all, or those
#
# ACCEL in the environment chooses the machine: bochs, the default, whose TSC counts
# instructions, the same in each run; kvm, which lends the guest the CPU's own VMX or
# SVM, for figures in cycles; or tcg, which shows that the way kvm goes works.
#
# Makes build/bench/NAME.txt, .json, .md and, on stdout, KTAP, where NAME is the flavour,
# with the machine if that is not Bochs. In Bochs, what ours add must not exceed that
# in tests/bench/FLAVOUR.baseline; a change that is meant to, brings a new one:
#
#	grep -E '^cost \S+ (unpatched|absent|recording_off|loaded|per_vcpu|histograms|phases|details) ' build/bench/FLAVOUR.txt | grep -v ask_
#
# All setups together also make the tables in tests/bench/README.md.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/build/kvm-copy.sh"

flavour=${1:-lean}
setups=("${@:2}")
machine=${ACCEL:-bochs}
kernel=$build/$flavour
module=$build/$flavour-module/kvm_exitprof.ko
peers=$build/bench/$flavour

# Said at once, and not when a kernel has been built.
[ "$machine" != kvm ] || { [ -w /dev/kvm ] && grep -qsx '[Y1]' /sys/module/kvm_{intel,amd}/parameters/nested; } ||
	die "ACCEL=kvm needs a usable /dev/kvm, and kvm_intel or kvm_amd with nested=Y"

name=$flavour unit=instructions
[ "$machine" = bochs ] || name=$flavour-$machine unit=cycles
costs=$build/bench/$name.txt
options=(--unit "$unit" --json "$build/bench/$name.json" --markdown "$build/bench/$name.md")
if [ "$machine" = bochs ]; then
	# The kernel for tests is the distribution's.
	options+=(--targets --baseline "$top/tests/bench/${flavour/kernel/distro}.baseline")
	case $flavour${setups[*]} in
	lean | distro | 6.12-lean | 7.3) options+=(--table "$top/tests/bench/README.md") ;;
	esac
fi
# Peers are written for KVM as it was.
case $flavour${setups[*]} in
6.12-lean) setups=(unpatched absent recording_off loaded per_vcpu histograms phases details c_probe bpf exitprof_bpf trace_exit trace_both perf_kvm_stat) ;;
7.3) setups=(unpatched absent recording_off loaded per_vcpu histograms phases details exitprof_bpf) ;;
esac

# wanted SETUP
wanted() {
	[ ${#setups[@]} = 0 ] || [[ " ${setups[*]} " == *" $1 "* ]]
}

# The unpatched KVM with counters that CPUs share.
build_shared_atomics() {
	copy_unpatched "$kernel" "$peers/shared_atomics"
	change "$peers/shared_atomics" <"$top/tests/bench/shared-atomics.patch"
	build_kvm "$kernel" "$peers/shared_atomics"
	install -D -t "$peers/root/modules/shared_atomics/unpatched" "$peers"/shared_atomics/arch/x86/kvm/*.ko
}

# make_peer NAME TARGET: makes it of the peer's sources and headers of the KVM that
# it meets. With the series, a vCPU has its exit reason elsewhere.
make_peer() {
	copy_unpatched "$kernel" "$peers/unpatched"
	mkdir -p "$peers/$1"
	cp "$top/tests/bench/$1"/* "$peers/$1"
	make_with "$kernel" "$peers/unpatched" "$peers/$1" "$2"
}

# The module with probes on tracepoints.
build_c_probe() {
	make_peer probe modules
	install -D -t "$peers/root/bench" "$peers/probe/exit_probe.ko"
}

# The BPF program, and a static loader of it.
build_bpf() {
	local root lib offset out=$peers/bpf
	root=$("$top/scripts/build/packages.sh" libbpf-dev)
	lib=$root/usr/lib/x86_64-linux-gnu
	mkdir -p "$peers/root/bench"
	make_peer bpf offset.s
	offset=$(sed -n 's/.*->EXIT_REASON \$\([0-9]*\) .*/\1/p' "$out/offset.s")
	clang --target=bpf -O2 -g -Wall -Werror -DEXIT_REASON="$offset" -idirafter "$root/usr/include" \
		-idirafter "$root/usr/include/x86_64-linux-gnu" \
		-c "$top/tests/bench/bpf/exits.bpf.c" -o "$peers/root/bench/exits.bpf.o"
	cc -O2 -Wall -Werror -static -idirafter "$root/usr/include" "$top/tests/bench/bpf/load.c" \
		"$lib"/lib{bpf,elf,z}.a -o "$peers/root/bench/load"
}

# locked FUNCTION OBJECT: how many instructions with a lock prefix it has. Each
# writes a cache line that it takes from other CPUs.
locked() {
	local symbol
	symbol=$(symbol "$2" "$1")
	objdump -d --no-show-raw-insn --disassemble="$symbol" "$2" | grep -cw lock || true
}

# locked_in_run OBJECT: how many KVM_RUN and the functions for it alone have.
locked_in_run() {
	local function sum=0
	for function in kvm_arch_vcpu_ioctl_run vcpu_run vcpu_enter_guest; do
		# grep reads to the end, or nm would fail at times.
		! nm "$1" | grep " [tT] $function$" >/dev/null || sum=$((sum + $(locked $function "$1")))
	done
	echo $sum
}

# What runs at an exit, of KVM and of the module. That this writes memory of its CPU
# alone, check-record.sh sees to.
disassembly() {
	local hook shared=$peers/shared_atomics/arch/x86/kvm/kvm-intel.ko
	"$top/scripts/check-record.sh" "$module"
	# What the hook adds to the functions that it is inlined into, or to those that they are
	# inlined into themselves.
	hook=$(($(locked_in_run "$kernel/arch/x86/kvm/kvm.ko") - $(locked_in_run "$kernel/unpatched/kvm.ko")))
	echo "locked loaded $((hook + $(locked "record::<false, false, false>" "$module")))"
	! wanted shared_atomics || echo "locked shared_atomics $(locked vmx_handle_exit "$shared")"
}

"$top/scripts/build/kernel.sh" "$flavour"
"$top/scripts/build/unpatched.sh" "$kernel"
"$top/scripts/build/module.sh" "$flavour"
"$top/scripts/build/tool.sh" e2e exitprof
mkdir -p "$peers/root"
! wanted shared_atomics || logged "$peers/shared_atomics.log" build_shared_atomics
! wanted c_probe || logged "$peers/c_probe.log" build_c_probe
! wanted bpf || logged "$peers/bpf.log" build_bpf

say "measuring in $machine"
{
	EMULATOR=$machine "$top/scripts/e2e.sh" "$flavour" "$module" cost "${setups[@]}"
	disassembly
} | tee "$costs" | sed -un 's/^cost cpuid \(\S*\) .*/\1/p' | while read -r setup; do say "$setup"; done
grep '^#' "$costs" || true
"$top/scripts/build/cargo.sh" run --quiet --locked --package bench -- report "${options[@]}" "$costs"
