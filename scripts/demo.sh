#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The whole thing on the real thing: boots the patched kernel in an emulator,
# loads the profiler, starts a nested guest that reads the leaves by Debian's
# cpuid tool, and compares the guest's answers with the host's log.

set -euo pipefail
. "$(dirname "$0")/common.sh"

kernel=$build/kernel
module=$top/kvm_exitprof.ko
tool=$build/exitprof
out=$build/demo
image=$kernel/arch/x86/boot/bzImage
modules=("$kernel"/arch/x86/kvm/{kvm,kvm-intel,kvm-amd}.ko "$module")
irqbypass=$kernel/virt/lib/irqbypass.ko
[ ! -f "$irqbypass" ] || modules+=("$irqbypass")

for file in "$image" "${modules[@]}" "$tool"; do
	[ -f "$file" ] || die "no $file: run 'make demo', which builds it"
done
mkdir -p "$out"

inputs=("$image" "${modules[@]}" "$tool" "$top"/scripts/*)
key=$(sha256sum "${inputs[@]}" | sha256sum)
if [ "$key" != "$(cat "$out/key" 2> /dev/null)" ]; then
	say "making the host's and the guest's images"
	rm -f "$out/key"
	"$top/scripts/initramfs.sh" --cpuid "$out/guest.cpio" "$top/scripts/demo-guest-init" \
		"$tool:/usr/bin/exitprof"
	"$top/scripts/initramfs.sh" --qemu "$out/host.cpio" "$top/scripts/demo-host-init" \
		"$tool:/usr/bin/" "$image:/guest/kernel" "$out/guest.cpio:/guest/initramfs" \
		"${modules[@]/%/:/lib/modules/}"
	"$top/scripts/image.sh" "$out/demo.iso" "$image" "$out/host.cpio" \
		"console=ttyS0 quiet loglevel=3 mitigations=off nokaslr no_timer_check panic=-1 reboot=t"
	echo "$key" > "$out/key"
fi

say "booting the host, and a guest in it: about 20 s on an idle machine"
"$top/scripts/emulate.sh" --timeout 1800 "$out/demo.iso" "$out" |
	while IFS= read -r line; do
		printf '[%4ds] %s\n' "$SECONDS" "$line"
	done
if grep -q ' failed with status ' "$out/results.log"; then
	die "a command of the demo failed (logs in $out)"
fi
if grep -q '^complaint: ' "$out/results.log"; then
	die "a kernel complained, see above (logs in $out)"
fi

# What the host logged: for each question, the answers in the order of asking.
logged='kvm_exitprof: (0x4ffffff[c-f]), (Exit number ([0-9]+)\. )?Total (exits|cycles)=([0-9]+)'
declare -A host
while IFS= read -r line; do
	if [[ $line =~ $logged ]]; then
		question="${BASH_REMATCH[1]} ${BASH_REMATCH[4]}${BASH_REMATCH[3]:+ of reason ${BASH_REMATCH[3]}}"
		host[$question]+="${BASH_REMATCH[5]} "
	fi
done < "$out/results.log"

# compare SHOW QUESTION ANSWER: a row of the summary, if SHOW or if it differs.
answers=0 differ=0
compare() {
	local value rest verdict=agree
	read -r value rest <<< "${host[$2]-} "
	host[$2]=$rest
	answers=$((answers + 1))
	if [ "$3" != "$value" ]; then
		verdict=DIFFER
		differ=$((differ + 1))
	elif [ "$1" = no ]; then
		return
	fi
	printf '%-36s %14s %14s  %s\n' "$2" "$3" "${value:-nothing}" $verdict
}

# What the guest read, by cpuid and by exitprof (which prints a row per reason).
hex='(0x[0-9a-f]+)'
answer="(0x4ffffff[c-f]) $hex: eax=$hex ebx=$hex ecx=$hex"
row='^ *([0-9]+|0x[0-9a-f]+) +[A-Z0-9_]+ +([0-9]+) +([0-9]+)$'
typed=0 boot=0
echo
printf '%-36s %14s %14s\n' leaf 'guest read' 'host logged'
while IFS= read -r line; do
	if [[ $line =~ $answer ]]; then
		set -- "${BASH_REMATCH[@]:1}"
		exits=$(($4 << 32 | $3)) cycles=$(($4 << 32 | $5))
		typed=$((typed + 1))
		[ $typed != 1 ] || boot=$exits
		case $1 in
		*c) compare yes "$1 exits" $exits ;;
		*d) compare yes "$1 cycles" $cycles ;;
		*e) compare yes "$1 exits of reason $(($2))" $exits ;;
		*f) compare yes "$1 cycles of reason $(($2))" $cycles ;;
		esac
	elif [[ $line =~ $row ]]; then
		set -- "${BASH_REMATCH[@]:1}"
		compare no "0x4ffffffe exits of reason $(($1))" "$2"
		compare no "0x4fffffff cycles of reason $(($1))" "$3"
	fi
done < "$out/results.log"
echo

if [ $typed != "$(grep -c '^guest# cpuid' "$out/results.log")" ] ||
	! grep -q '^guest# reboot' "$out/results.log"; then
	die "the guest did not come to its end (logs in $out)"
fi
[ "$boot" -gt 0 ] || die "the guest counted no exits (logs in $out)"
[ $differ = 0 ] || die "$differ of the guest's $answers answers differ from the host's log (logs in $out)"
echo "All $answers answers agree with the host's log: $typed read by cpuid, $((answers - typed)) by exitprof."
echo "The guest's boot took $boot exits."
