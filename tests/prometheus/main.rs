// SPDX-License-Identifier: GPL-2.0

//! exitprof's metrics in a real Prometheus: what it stores, and what it computes.
//!
//! `scripts/prometheus.sh` says where the programs are: `PROMETHEUS_BIN` is the folder of
//! `prometheus`, `promtool` and `prometheus-node-exporter`, and `EXITPROF` is the tool.
//! `SYSTEMD_ROOT` is where systemd is, if this machine has none.

mod dashboard;
mod host;
mod rules;
mod stored;
mod units;

use prometheus_tests::programs::path;
use std::{path::PathBuf, process::Command};

/// The tool.
fn exitprof() -> Command {
    Command::new(path("EXITPROF"))
}

/// A file beside the operating guide.
fn monitoring(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    dir.join("../../src/tool/monitoring").join(name)
}
