#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Lets Prometheus read what exitprof writes: tests/prometheus. KTAP on stdout.
#
#	prometheus.sh [NAME...]	all tests, or these
set -euo pipefail
. "$(dirname "$0")/common.sh"

root=$("$top/scripts/build/packages.sh" --only prometheus prometheus-node-exporter)
"$top/scripts/build/tool.sh" exitprof judge
export PROMETHEUS_BIN=$root/usr/bin EXITPROF=$build/exitprof
if ! command -v systemd-analyze >/dev/null; then
	SYSTEMD_ROOT=$("$top/scripts/build/packages.sh" systemd)
	export SYSTEMD_ROOT
fi
exact=()
[ $# = 0 ] || exact=(--exact "${@#prometheus.}")
{ "$top/scripts/build/cargo.sh" test --locked --no-fail-fast --package prometheus-tests --test prometheus -- "${exact[@]}" || true; } |
	"$build/judge" libtest prometheus.
