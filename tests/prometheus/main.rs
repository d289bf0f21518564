// SPDX-License-Identifier: GPL-2.0

//! exitprof's metrics in a real Prometheus: what it stores, and what it computes.
//!
//! `scripts/prometheus.sh` says where the programs are: `PROMETHEUS_BIN` is the folder of
//! `prometheus`, `promtool` and `prometheus-node-exporter`, and `EXITPROF` is the tool.
//! `SYSTEMD_ROOT` is where systemd is, if this machine has none.

mod dashboard;
mod host;
mod rules;
mod server;
mod stored;
mod units;

use std::{env, path::PathBuf, process::Command};

/// The path in a variable of the environment.
fn path(variable: &str) -> PathBuf {
    let path = env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: run scripts/prometheus.sh");
    });
    path.into()
}

/// A program of Prometheus.
fn program(name: &str) -> Command {
    Command::new(path("PROMETHEUS_BIN").join(name))
}

/// The tool.
fn exitprof() -> Command {
    Command::new(path("EXITPROF"))
}

/// A file beside the operating guide.
fn monitoring(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    dir.join("../../src/tool/monitoring").join(name)
}
