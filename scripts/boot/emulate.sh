#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a CD image on a machine that has VMX or SVM, and waits until it powers
# off. Where the hardware cannot lend its own, Bochs emulates VMX, and QEMU's
# emulator (TCG) SVM, with CPUs that really run side by side.
#
#	emulate.sh [--cpus N] [--memory MB] [--timeout SECONDS] [--forward PORT:TO] ISO OUTDIR
#	emulate.sh --which		prints the emulator's name, and vmx or svm
#	emulate.sh --kvm ISO OUTDIR	prints kvm's command, for a machine that has the
#					packages' files in its own /
#
# The machine's first serial port goes to OUTDIR/console.log and must be the
# kernel's console. The second is for results: OUTDIR/results.log, also copied
# to stdout as it grows. Succeeds if the machine powered itself off in time.
#
# With --forward, which QEMU has and Bochs has not, PORT here leads to the port TO of the machine's
# network card, an e1000 with the address 10.0.2.15.
#
# With several CPUs the kernel's command line needs idle=halt, as Bochs loses
# wake-ups of a CPU that waits by MWAIT.
#
# EMULATOR=auto|any|kvm|bochs|tcg in the environment chooses. The default is auto: VMX, by
# kvm where nested virtualization works and the machine comes up, or else by bochs. With
# any, tcg stands for bochs if the kernel is a distribution's, which takes Bochs minutes.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

usage="usage: $0 [--cpus N] [--memory MB] [--timeout SECONDS] [--forward PORT:TO] ISO OUTDIR | --which | --kvm ISO OUTDIR"
mode=run cpus=1 memory=1024 limit=300
card=()
# How many seconds a machine on kvm may take until its first result.
patience=60
while [[ ${1:-} = --* ]]; do
	case $1 in
	--which | --kvm)
		mode=${1#--}
		shift
		continue
		;;
	--cpus) cpus=${2:?$usage} ;;
	--memory) memory=${2:?$usage} ;;
	--timeout) limit=${2:?$usage} ;;
	--forward)
		forward=${2:?$usage}
		card=(
			-netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:${forward%:*}-:${forward#*:}"
			-device "e1000,netdev=net,romfile="
		)
		;;
	*) die "unknown option $1: $usage" ;;
	esac
	shift 2
done
if [ "$mode" = which ]; then
	[ $# = 0 ] || die "$usage"
else
	[ $# = 2 ] || die "$usage"
	iso=$1 out=$2
fi

# --- the emulators: each makes its command

# qemu ARGUMENT...: QEMU of the packages unpacked in $root, with their libraries.
qemu() {
	command=(
		env "QEMU_MODULE_DIR=$root/usr/lib/x86_64-linux-gnu/qemu"
		"$root/lib64/ld-linux-x86-64.so.2" --inhibit-cache
		--library-path "$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu"
		"$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios"
		-nodefaults -no-user-config -display none "$@"
	)
}

# nested_kvm MODULE FLAG: whether nested virtualization works here, and QEMU can create a
# VM.
nested_kvm() {
	grep -qsx '[Y1]' "/sys/module/$1/parameters/nested" &&
		grep -qw "$2" /proc/cpuinfo && [ -w /dev/kvm ] || return
	root=$("$top/scripts/build/packages.sh")
	qemu -M none -accel kvm -monitor stdio
	timeout 10 "${command[@]}" <<<quit >/dev/null 2>&1
}

machine() { # QEMU ARGUMENT...
	qemu -M pc -smp "$cpus" -m "$memory" -no-reboot -cdrom "$iso" \
		-serial "file:$out/console.log" -serial "file:$out/results.log" "${card[@]}" "$@"
}

kvm() {
	machine -accel kvm -cpu host
}

# Before QEMU 8.1, a CPU may run into the breakpoint of a static key that
# another has replaced already; Debian 12's is 7.2. In 10.0 and 11.1 CPU 0 still
# cannot run guests while others do (see usable() in tests/e2e): where there are
# several, it comes on top of those that are asked for.
tcg() {
	root=$("$top/scripts/build/packages.sh" --backports qemu-system-x86)
	[ "$cpus" = 1 ] || cpus=$((cpus + 1))
	machine -accel tcg,thread=multi -cpu EPYC,+svm
}

# A Haswell's TSC ticks once per emulated instruction, and Linux sees that; with
# later models it does not. A triple fault ends the emulation.
bochs() {
	[ ${#card[@]} = 0 ] || die "Bochs has no --forward: use EMULATOR=tcg"
	command -v bochs-bin >/dev/null ||
		die "Bochs is missing: apt-get install bochs bochsbios bochs-term vgabios"
	cat >"$out/bochsrc" <<-END
		cpu: model=corei7_haswell_4770, count=$cpus, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
		clock: sync=none, time0=1700000000, rtc_sync=0
		memory: guest=$memory, host=$memory
		romimage: file=/usr/share/bochs/BIOS-bochs-latest
		vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
		vga: extension=vbe, update_freq=1, realtime=0
		display_library: term
		ata0-master: type=cdrom, path="$iso", status=inserted
		boot: cdrom
		com1: enabled=1, mode=file, dev=console.log
		com2: enabled=1, mode=file, dev=results.log
		log: emulator.log
		panic: action=fatal
		error: action=ignore
		speaker: enabled=0
	END
	echo c >"$out/bochs.commands"
	# Bochs seeds RDRAND from the time of day, and redraws its screen at an alarm.
	# Without both, every run of an image executes the same instructions.
	echo 'void srand(unsigned s) {} unsigned alarm(unsigned s) { return 0; }' |
		"${CC:-cc}" -w -nostdlib -shared -fPIC -x c -o "$out/repeatable.so" -
	command=(
		env --chdir "$out" TERM=xterm LD_PRELOAD=./repeatable.so
		bochs-bin -q -f bochsrc -rc bochs.commands
	)
}

# --- which of them

if [ "$mode" = kvm ]; then
	root=
	kvm
	echo "${command[*]@Q}"
	exit
fi

emulator=${EMULATOR:-auto} isa=vmx emulated=bochs
[ "$emulator" != any ] || [ "$kernel_name" != 7.3 ] || emulated=tcg
case $emulator in
auto | any)
	emulator=$emulated
	! nested_kvm kvm_intel vmx || emulator=kvm
	;;
kvm)
	nested_kvm kvm_intel vmx || { nested_kvm kvm_amd svm && isa=svm; } ||
		die "EMULATOR=kvm needs a CPU with VMX or SVM, a usable /dev/kvm, and kvm_intel or kvm_amd with nested=Y"
	;;
bochs | tcg) ;;
*) die "EMULATOR=$emulator is none of auto, any, kvm, bochs, tcg" ;;
esac
[ "$emulator" != tcg ] || isa=svm
if [ "$mode" = which ]; then
	echo "$emulator $isa"
	exit
fi

# --- the machine

[ -f "$iso" ] || die "no image $iso"
mkdir -p "$out"
iso=$(realpath "$iso") out=$(realpath "$out")

# start: runs $command. Bochs ignores SIGTERM, so timeout sends SIGKILL after it. The two
# processes end with this script, whatever ends that.
start() {
	: >"$out/console.log"
	: >"$out/results.log"
	setpriv --pdeathsig TERM timeout --foreground --kill-after 1 "$limit" "${command[@]}" \
		</dev/null >"$out/emulator.out" 2>&1 &
	process=$!
	setpriv --pdeathsig TERM tail --pid $process --sleep-interval 0.1 -n +1 -f "$out/results.log" &
	copy=$!
}

# comes_up: waits for the machine's first result. Fails if that does not come in time.
comes_up() {
	local end=$((SECONDS + patience))
	until [ -s "$out/results.log" ]; do
		if [ $SECONDS -ge $end ] || ! kill -0 $process 2>/dev/null; then
			return 1
		fi
		sleep 0.1
	done
}

case $emulator in
kvm) kvm ;;
bochs) bochs ;;
tcg) tcg ;;
esac
start
if [ "$emulator" = kvm ] && ! comes_up; then
	kill $process 2>/dev/null || true
	wait $process $copy || true
	why="no result within $patience s from the machine on KVM"
	[ "${EMULATOR:-auto}" != kvm ] || die "$why (logs in $out)"
	say "$why: falling back to $emulated"
	$emulated
	start
fi
status=0
wait $process || status=$?
wait $copy || true

# Bochs returns 1 after a power-off as well: the kernel's last word decides.
if grep -q 'reboot: Power down' "$out/console.log"; then
	exit 0
fi
tail -n 20 "$out/results.log" | sed 's/^/results: /' >&2
tail -n 40 "$out/console.log" | sed 's/^/console: /' >&2
case $status in
124 | 137) die "the machine hung: no power-off within $limit s (logs in $out)" ;;
*) die "the machine stopped without a power-off, status $status (logs in $out)" ;;
esac
