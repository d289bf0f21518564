#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Boots a host of Debian's kernel in QEMU, whose exporter a Prometheus outside of it scrapes, and
# compares what that has stored with what the host has counted. KTAP on stdout.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ "$kernel_name" = 7.3 ] || die "the other kernels here have no network: KERNEL=7.3"
out=$build/scrape-$kernel_name
mkdir -p "$out"
packages=$("$top/scripts/build/packages.sh" --only prometheus prometheus-node-exporter)
"$top/scripts/build/tool.sh" exitprof judge
xz -dc "$build/7.3/modules/kernel/drivers/net/ethernet/intel/e1000/e1000.ko.xz" >"$out/e1000.ko"
iso=$("$top/scripts/boot/boot.sh" --image scrape "$out/e1000.ko:/lib/modules/")

# A port that nobody listens on.
port=20777
while : 2>/dev/null <"/dev/tcp/127.0.0.1/$port"; do
	port=$((port + 1))
done
: >"$out/results.log"
"$top/scripts/boot/emulate.sh" --timeout 1200 --forward "$port:10777" "$iso" "$out" >&2 &
machine=$!
trap 'kill $machine 2>/dev/null || true' EXIT
{
	PROMETHEUS_BIN=$packages/usr/bin EXITPROF=$build/exitprof \
		SCRAPED=127.0.0.1:$port RESULTS=$out/results.log MACHINE=$machine \
		"$top/scripts/build/cargo.sh" test --locked --package prometheus-tests --test scrape || true
} | "$build/judge" libtest scrape. | sed 's/^1\.\.1$/1..2/'
wait $machine || true
if "$build/judge" complaints "$out/console.log" "$out/results.log" >"$out/complaints"; then
	echo "ok 2 scrape.no_complaints"
else
	sed 's/^/# /' "$out/complaints"
	echo "not ok 2 scrape.no_complaints"
fi
