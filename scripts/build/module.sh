#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# module.sh FLAVOUR: builds the module for build/FLAVOUR (see kernel.sh), in a
# copy: build/FLAVOUR-module. The one at the top is for "kernel".
set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# = 1 ] || die "usage: $0 FLAVOUR"
module=$build/$1-module
kernel=$build/$1

# A module lasts until something in it changes, or in the kernel that it is built for.
inputs() {
	local source=$kernel
	[ ! -e "$kernel/source" ] || source=$kernel/source
	realpath "$kernel"
	cd "$top"
	find Kbuild Cargo.toml src "$kernel"/{.config,Module.symvers,rust/libkernel.rmeta} "$source/series/" \
		-type f ! -name '*.o' ! -name '.*.cmd' ! -name bindings.rs -exec sha256sum {} + | sort
}
key=$(inputs | sha256sum)
if [ -e "$module/kvm_exitprof.ko" ] && [ "$key" = "$(cat "$module/key" 2>/dev/null)" ]; then
	exit
fi

rm -rf "$module"
mkdir -p "$module"
cp -r "$top/Kbuild" "$top/Cargo.toml" "$top/src" "$module"
logged "$module/make.log" "$top/scripts/build/make.sh" "$kernel" M="$module" modules
echo "$key" >"$module/key"
