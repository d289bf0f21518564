#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds an initramfs from Debian's static busybox, an init script and whatever
# else the emulated machine needs. Does not need root, and gives the same bytes
# for the same inputs.
#
#	initramfs.sh [--qemu] [--cpuid] [--perf] OUT INIT [SRC:DEST...]
#
#	--qemu	adds QEMU for microvm guests (qemu-system-x86_64-microvm)
#	--cpuid	adds the cpuid tool
#	--perf	adds perf
#	OUT	compressed if its name ends in .gz
#	INIT	becomes /init
#	DEST	an absolute path; a trailing slash keeps SRC's name

set -euo pipefail
. "$(dirname "$0")/common.sh"

qemu='' cpuid='' perf=''
while [ $# -gt 0 ]; do
	case $1 in
	--qemu) qemu=1 ;;
	--cpuid) cpuid=1 ;;
	--perf) perf=1 ;;
	*) break ;;
	esac
	shift
done
[ $# -ge 2 ] || die "usage: $0 [--qemu] [--cpuid] [--perf] OUT INIT [SRC:DEST...]"
out=$1 init=$2
shift 2

root=$("$top/scripts/packages.sh")
mkdir -p "$(dirname "$out")"
tmp=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
stage=$tmp/root

add() { # SRC DEST
	[ -f "$1" ] || die "no $1 to put into the initramfs $out"
	case $2 in
	*/) install -D -m 755 -t "$stage$2" "$1" ;;
	*) install -D -m 755 "$1" "$stage$2" ;;
	esac
}

# program NAME: a program of the unpacked packages, its loader and its libraries.
program() {
	local loader=/lib64/ld-linux-x86-64.so.2 library
	add "$root/usr/bin/$1" /usr/bin/
	add "$root$loader" /lib64/
	"$root$loader" --inhibit-cache \
		--library-path "$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu" \
		--list "$root/usr/bin/$1" | awk '$2 == "=>" { print $3 }' |
		while read -r library; do
			[ "${library##*/}" = "${loader##*/}" ] || add "$library" /lib/x86_64-linux-gnu/
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

if [ "$cpuid" ]; then
	program cpuid
fi
if [ "$qemu" ]; then
	# Debian builds one QEMU for microvm alone: a quarter of the size of the whole.
	program qemu-system-x86_64-microvm
	for rom in bios-microvm.bin qboot.rom linuxboot_dma.bin pvh.bin; do
		add "$root/usr/share/qemu/$rom" /usr/share/qemu/
	done
fi
if [ "$perf" ]; then
	root=$("$top/scripts/packages.sh" linux-perf)
	program perf
fi
for file; do
	add "${file%:*}" "${file##*:}"
done

find "$stage" -exec touch -h -d @0 {} +
(cd "$stage" && find . -mindepth 1 | LC_ALL=C sort |
	cpio --quiet -o -H newc -R 0:0 --reproducible) > "$tmp/cpio"
case $out in
*.gz) gzip -1n "$tmp/cpio" && mv "$tmp/cpio.gz" "$out" ;;
*) mv "$tmp/cpio" "$out" ;;
esac
