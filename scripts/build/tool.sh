#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# tool.sh [NAME...]: builds programs of the workspace: build/NAME. The default is the
# tool, exitprof. They are static, so that they run inside emulated machines, too.
set -euo pipefail
. "$(dirname "$0")/../common.sh"

[ $# -gt 0 ] || set -- exitprof
say "building ${*/#/build/}"
# Cargo builds what is where it runs: these sources, whoever calls. In one run, in which it
# builds shared crates once.
cd "$top"
RUSTFLAGS="-C target-feature=+crt-static" CARGO_TARGET_DIR=$build/cargo-static \
	"$top/scripts/build/cargo.sh" build --quiet --release --locked \
	--target x86_64-unknown-linux-gnu "${@/#/--package=}"
# One of them may be running: install removes it first, and cp would not.
for name; do
	install -t "$build" "$build/cargo-static/x86_64-unknown-linux-gnu/release/$name"
done
