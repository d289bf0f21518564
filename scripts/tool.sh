#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the programs that run inside emulated machines, as static binaries: the
# tool, and with "e2e" the end-to-end tests.
set -euo pipefail
. "$(dirname "$0")/common.sh"

package=exitprof name=exitprof
if [ "${1:-}" = e2e ]; then
	package=e2e name=e2e
fi

say "building build/$name"
RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR=$build/cargo-static \
	"$top/scripts/cargo.sh" build --quiet --release --locked \
	--target x86_64-unknown-linux-gnu --package $package
cp "$build/cargo-static/x86_64-unknown-linux-gnu/release/$name" "$build/$name"
