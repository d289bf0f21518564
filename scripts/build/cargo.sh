#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# cargo.sh ARGUMENTS: a cargo that is current enough for the tools: the one in
# PATH, or else the one that Debian has for web browsers, unpacked into the cache.
# (Debian's cargo and rustc proper fit its kernels, and are too old for the locked
# crates. Newer ones cannot be installed beside them.)
set -euo pipefail
. "$(dirname "$0")/../common.sh"

minor() {
	"$1" --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p'
}

unset RUSTC RUSTDOC RUSTFMT # those are the kernel's
cargo=cargo
if [ "$(minor cargo || true)" -lt 88 ] 2>/dev/null || [ -z "$(minor cargo || true)" ]; then
	root=$("$top/scripts/build/packages.sh" cargo-web rustc-web rustfmt-web rust-web-clippy)
	export PATH=$root/usr/bin:$PATH
	export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
	cargo=$root/usr/bin/cargo
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$build/cargo}
# Tests send signals that this shell may have been started to ignore, as by nohup.
exec env --default-signal "$cargo" "$@"
