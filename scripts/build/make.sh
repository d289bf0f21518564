#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# make.sh KDIR ARGUMENT...: make for a kernel, with the tools that it was built with.
# "make.sh KDIR -s rustc" prints which rustc that is.
#
# 6.1 wants this machine's own rustc 1.63, and clang. Later kernels want Debian 13's
# tools, which are used in their root where this machine has others: see root.sh. What clang
# built there, as it does kernels with KASAN, clang goes on with.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# -ge 1 ] || die "usage: $0 KDIR ARGUMENT..."
kdir=$(realpath "$1")
shift

value() {
	[ ! -e "$kdir/.config" ] || sed -n "s/^CONFIG_$1=\"\?\([^\"]*\)\"\?$/\1/p" "$kdir/.config"
}

rustc=$(value RUSTC_VERSION_TEXT)
# It is not configured for Rust yet.
[ "$rustc" ] || [[ "$(make -s -C "$kdir" kernelversion)" == 6.1.* ]] || rustc="rustc 1.85."
in_root=("$top/scripts/build/root.sh")
[ -z "$(value CC_IS_CLANG)" ] || in_root+=(--clang)
if [[ "$rustc" == "rustc 1.85."* ]] && { [ "$rustc" != "$("$RUSTC" --version)" ] || [ ${#in_root[@]} = 2 ]; }; then
	[ "$*" != "-s rustc" ] || exec "${in_root[@]}" rustc --version
	case $kdir/ in
	/boot/* | /etc/* | /lib* | /usr/* | /var/*) die "$kdir is out of reach of Debian 13's tools: copy it to /home" ;;
	esac
	exec "${in_root[@]}" make -C "$kdir" "$@"
fi
[ "$*" != "-s rustc" ] || exec "$RUSTC" --version
[ -z "$(value CC_IS_GCC)" ] || kernel_tools=("${kernel_tools[@]:1}")
exec make -C "$kdir" "${kernel_tools[@]}" "$@"
