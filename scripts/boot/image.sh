#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes a bootable CD image of a kernel and an initramfs: the one form in which
# every emulator starts a Linux kernel without any help from the firmware.
#
#	image.sh OUT.iso BZIMAGE INITRAMFS COMMANDLINE

set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# = 4 ] || die "usage: $0 OUT.iso BZIMAGE INITRAMFS COMMANDLINE"
out=$1 kernel=$2 initramfs=$3 command_line=$4

isolinux=/usr/lib/ISOLINUX/isolinux.bin
ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32
if ! [ -f $isolinux ] || ! [ -f $ldlinux ] || ! command -v xorriso > /dev/null; then
	die "image.sh needs: apt-get install isolinux syslinux-common xorriso"
fi

mkdir -p "$(dirname "$out")"
tmp=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
stage=$tmp/cd
mkdir "$stage"
cp $isolinux $ldlinux "$stage"
cp "$kernel" "$stage/kernel"
cp "$initramfs" "$stage/initrd"
cat > "$stage/isolinux.cfg" <<END
default linux
prompt 0
label linux
	kernel kernel
	initrd initrd
	append $command_line
END
find "$stage" -exec touch -d @0 {} +

export SOURCE_DATE_EPOCH=0
xorriso -as mkisofs -quiet -o "$tmp/iso" -b isolinux.bin -c boot.cat \
	-no-emul-boot -boot-load-size 4 -boot-info-table "$stage" 2> "$tmp/error" ||
	die "xorriso failed: $(< "$tmp/error")"
mv "$tmp/iso" "$out"
