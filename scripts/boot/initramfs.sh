#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds an initramfs from Debian's static busybox, an init script and whatever
# else the emulated machine needs. Does not need root, and gives the same bytes
# for the same inputs.
#
#	initramfs.sh OUT INIT [SRC:DEST | OPTION]...
#
#	OUT	compressed if its name ends in .gz
#	INIT	becomes /init
#	DEST	an absolute path; a trailing slash keeps SRC's name
#	--qemu	adds QEMU for microvm guests (qemu-system-x86_64-microvm)
#	--qemu-pc	adds QEMU for PCs (qemu-system-x86_64)
#	--cpuid	adds the cpuid tool
#	--perf	adds perf
#	--kmod	adds kmod in place of what busybox has of it, and dash: busybox's shell
#		prefers its own

set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# -ge 2 ] || die "usage: $0 OUT INIT [SRC:DEST | OPTION]..."
out=$1 init=$2
shift 2

root=$("$top/scripts/build/packages.sh")
mkdir -p "$(dirname "$out")"
tmp=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
stage=$tmp/root

add() { # SRC DEST
	local dest=$stage$2
	[ -f "$1" ] || die "no $1 to put into the initramfs $out"
	case $2 in
	*/) dest+=${1##*/} ;;
	esac
	install -D -m 755 "$1" "$dest"
	case $dest in
	*.ko) strip_debug "$dest" ;;
	esac
}

# Debugging information is most of a module that has it. Others may be signed, and stay as
# they are.
strip_debug() {
	# grep reads to the end, or objdump would fail at times.
	! objdump -h "$1" | grep '\.debug_info' >/dev/null || strip -d "$1"
}

# program NAME [ROOT]: a program of the unpacked packages, its loader and its libraries.
program() {
	local root=${2:-$root} loader=/lib64/ld-linux-x86-64.so.2 library program
	program=$root/usr/bin/$1
	[ -e "$program" ] || program=$root/bin/$1
	add "$program" /usr/bin/
	add "$root$loader" /lib64/
	"$root$loader" --inhibit-cache \
		--library-path "$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu" \
		--list "$program" | awk '$2 == "=>" { print $3 }' |
		while read -r library; do
			[ "${library##*/}" = "${loader##*/}" ] || add "$library" /lib/x86_64-linux-gnu/
		done
}

# firmware FILE...: of QEMU. What is SeaBIOS's, Debian 13 has in a directory of its own.
firmware() {
	local file
	for file; do
		[ -e "$root/usr/share/$file" ] || file=seabios/${file##*/}
		add "$root/usr/share/$file" "/usr/share/${file%/*}/"
	done
}

mkdir -p "$stage"/{dev,proc,sys,tmp,run}
add "$init" /init
"$root/bin/busybox" --list-full | while read -r applet; do
	mkdir -p "$stage/${applet%/*}"
	ln -s /bin/busybox "$stage/$applet"
done
rm "$stage/bin/busybox"
add "$root/bin/busybox" /bin/

for argument; do
	case $argument in
	--cpuid) program cpuid ;;
	--qemu)
		# Debian builds one QEMU for microvm alone: a quarter of the size of the whole.
		program qemu-system-x86_64-microvm
		firmware qemu/{bios-microvm,linuxboot_dma,pvh}.bin qemu/qboot.rom
		;;
	--qemu-pc)
		program qemu-system-x86_64
		firmware qemu/kvmvapic.bin seabios/bios-256k.bin
		;;
	--perf)
		perf=$("$top/scripts/build/packages.sh" linux-perf)
		program perf "$perf"
		;;
	--kmod)
		program kmod "$("$top/scripts/build/packages.sh" kmod)"
		program dash "$("$top/scripts/build/packages.sh" dash)"
		for applet in depmod insmod lsmod modinfo modprobe rmmod; do
			ln -sf /usr/bin/kmod "$stage/sbin/$applet"
		done
		;;
	*) add "${argument%:*}" "${argument##*:}" ;;
	esac
done

find "$stage" -exec touch -h -d @0 {} +
(cd "$stage" && find . -mindepth 1 | LC_ALL=C sort |
	cpio --quiet -o -H newc -R 0:0 --reproducible) > "$tmp/cpio"
case $out in
*.gz) gzip -1n "$tmp/cpio" && mv "$tmp/cpio.gz" "$out" ;;
*) mv "$tmp/cpio" "$out" ;;
esac
