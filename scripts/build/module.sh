#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# module.sh FLAVOUR: builds the module for build/FLAVOUR (see kernel.sh), in a
# copy: build/FLAVOUR-module. The one at the top is for "kernel".
set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# = 1 ] || die "usage: $0 FLAVOUR"
module=$build/$1-module
rm -rf "$module"
mkdir -p "$module"
cp -r "$top/Kbuild" "$top/Cargo.toml" "$top/src" "$module"
logged "$module/make.log" "$top/scripts/build/make.sh" "$build/$1" M="$module" modules
