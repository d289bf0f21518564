#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots build/FLAVOUR (see build/kernel.sh) in the emulator, with tests/e2e as its
# init, and both kinds of KVM's modules and MODULE to load; shows the results.
#
#	e2e.sh FLAVOUR MODULE MODE [NAME...]	MODE and NAME as tests/e2e takes them
#
# CPUS in the environment says how many the machine has: 2 unless told otherwise;
# PATCHED_KVM, where the patched modules are: in build/FLAVOUR; EXITPROF, which exitprof; APPEND, what the kernel's
# command line has besides.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# -ge 3 ] || die "usage: $0 FLAVOUR MODULE MODE [NAME...]"
# Where everything is checked, or much is done, it takes long.
limit=2400
case $1:$3 in
debug* | kcsan:* | *:soak) limit=14400 ;;
esac
name=$1 kernel=$build/$1 peers=$build/bench/$1/root module=$2 out=$build/e2e-$1-${EMULATOR:-auto}
shift 2

cpus=${CPUS:-2} options=() files=("$module:/modules/" "${EXITPROF:-$build/exitprof}:/bin/")
# Costs repeat exactly on one CPU only.
case $1 in
cost)
	cpus=1
	[ $# != 1 ] && [[ " $* " != *" perf_kvm_stat "* ]] || options=(--perf)
	;;&
cost | scale)
	# Others that count exits, of which bench.sh has built what it needs.
	while read -r file; do
		files+=("$peers/$file:/$file")
	done < <(cd "$peers" && find . -type f -printf '%P\n')
	;;
esac
for file in kvm kvm-intel kvm-amd; do
	files+=("${PATCHED_KVM:-$kernel/arch/x86/kvm}/$file.ko:/modules/patched/"
		"$kernel/unpatched/$file.ko:/modules/unpatched/")
done
for file in "$kernel"/{virt/lib/irqbypass.ko,needed/*.ko}; do
	[ ! -e "$file" ] || files+=("$file:/modules/needed/")
done
[ -e "$kernel/unpatched/kvm.ko" ] || "$top/scripts/build/unpatched.sh" "$kernel"
mkdir -p "$out"
"$top/scripts/boot/initramfs.sh" "$out/initramfs.cpio" "$build/e2e" "${options[@]}" "${files[@]}"
"$top/scripts/boot/image.sh" "$out/image.iso" "$kernel/arch/x86/boot/bzImage" "$out/initramfs.cpio" \
	"$(command_line "$name") loglevel=5 log_buf_len=8M msr.allow_writes=on idle=halt ${APPEND:-} -- $*"
"$top/scripts/boot/emulate.sh" --cpus "$cpus" --timeout $limit "$out/image.iso" "$out"
# Tests have a plan to compare with, and measurements a last word.
case $1 in
cost | scale)
	grep -qx complete "$out/results.log" ||
		die "measuring ended early: $(grep '^#' "$out/results.log" | tail -n 1)"
	;;
esac
