// SPDX-License-Identifier: GPL-2.0

//! Where programs are.

use std::{env, path::PathBuf, process::Command};

/// The path in a variable of the environment.
pub fn path(variable: &str) -> PathBuf {
    let path = env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} is not set: run scripts/prometheus.sh or scrape.sh");
    });
    path.into()
}

/// A program of Prometheus.
pub fn program(name: &str) -> Command {
    Command::new(path("PROMETHEUS_BIN").join(name))
}
