// SPDX-License-Identifier: GPL-2.0

//! The units of systemd are valid, and leave the exporter little.

use crate::monitoring;
use prometheus_tests::programs::path;
use std::{env, fs, path::PathBuf, process::Command};
use tempfile::TempDir;

/// systemd's judgement goes from 0 to 10; this is in tenths.
const EXPOSURE: u32 = 12;

#[test]
fn units_are_valid_and_hardened() {
    let dir = TempDir::new().unwrap();
    for name in ["exitprof-exporter.socket", "exitprof-exporter.service"] {
        let text = fs::read_to_string(monitoring(name)).unwrap();
        let tool = path("EXITPROF").canonicalize().unwrap();
        let text = text.replace("/usr/local/bin/exitprof", tool.to_str().unwrap());
        fs::write(dir.path().join(name), text).unwrap();
    }
    let service = dir.path().join("exitprof-exporter.service");
    let analyze = |arguments: &[&str]| {
        let mut command = systemd_analyze();
        let run = command.args(arguments).arg(&service).output().unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    };
    analyze(&["verify", "--man=no"]);
    let threshold = format!("--threshold={EXPOSURE}");
    analyze(&["security", "--offline=true", "--no-pager", &threshold]);
}

/// systemd's tool: this machine's, or if it has none, one that was unpacked.
fn systemd_analyze() -> Command {
    let Some(root) = env::var_os("SYSTEMD_ROOT").map(PathBuf::from) else {
        return Command::new("systemd-analyze");
    };
    let mut command = Command::new(root.join("usr/bin/systemd-analyze"));
    let folders = [
        "usr/lib/x86_64-linux-gnu/systemd",
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
    ];
    let folders = env::join_paths(folders.map(|folder| root.join(folder)));
    command.env("LD_LIBRARY_PATH", folders.unwrap());
    command
}
