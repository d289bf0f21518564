#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# root.sh [--clang] COMMAND...: runs a command with the tools of Debian 13, whatever this
# machine has: in a root directory of their own, which packages.sh unpacks into the cache.
# With --clang, these are clang and LLVM's, and LLVM=1 and CC tell the kernel's makefiles so.
#
# A kernel's Rust crates must be built by the very compiler that built the kernel, and
# that needs libraries of its own. In the root, all directories but the system's are
# where they are outside. It takes no privileges but a user namespace.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

packages=(
	base-files bash dash coreutils findutils diffutils grep sed gawk tar xz-utils lz4 cpio patch perl
	python3 make gcc bc flex bison kmod pahole libelf-dev libdw-dev libssl-dev zlib1g-dev rustc
	rust-src rustfmt rust-clippy bindgen
)
environment=(PATH=/usr/bin LC_ALL=C "HOME=$HOME")
if [ "${1:-}" = --clang ]; then
	packages+=(clang lld llvm)
	environment+=(LLVM=1 CC=clang)
	shift
fi
root=$("$top/scripts/build/packages.sh" --release trixie "${packages[@]}")

# These point to alternatives once the packages are installed.
ln -sf gcc "$root/usr/bin/cc"
ln -sf gawk "$root/usr/bin/awk"

mountpoint -q / ||
	die "this is a chroot whose root directory is not a mount point, so Debian 13's tools cannot get" \
		"a mount namespace: before chroot, \"mount --bind DIRECTORY DIRECTORY\""
options=(--mount)
[ "$(id -u)" = 0 ] || options+=(--user --map-root-user)
unshare "${options[@]}" true 2>/dev/null ||
	die "cannot make a mount namespace for Debian 13's tools: be root, or allow user namespaces"

for path in "$PWD" "$top" "$cache"; do
	case $path/ in
	/boot/* | /etc/* | /lib* | /usr/* | /var/*)
		die "$path is in a directory that Debian 13's tools have their own of: put it elsewhere, such as in /home"
		;;
	esac
done
outside=()
for directory in /*/; do
	case $directory in
	/bin/ | /boot/ | /etc/ | /lib*/ | /lost+found/ | /sbin/ | /usr/ | /var/) ;;
	*) outside+=("${directory%/}") ;;
	esac
done

# shellcheck disable=SC2016 # the inner shells expand it
exec unshare "${options[@]}" bash -ec '
	root=$1
	shift
	while [ "$1" != -- ]; do
		mkdir -p "$root$1"
		mount --rbind "$1" "$root$1"
		shift
	done
	shift
	exec chroot "$root" /usr/bin/env -i "$@"
' - "$root" "${outside[@]}" -- "${environment[@]}" /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
