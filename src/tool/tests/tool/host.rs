// SPDX-License-Identifier: GPL-2.0

//! A directory that looks like a host's debugfs, and how to run the tool on it.

use assert_cmd::Command;
use proptest::prelude::ProptestConfig;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Child,
};
use tempfile::TempDir;

/// A profile of two VMs and one that has ended, with the reasons of a real boot. The file
/// `host.txt` is the same in version 1, with all exits timed.
pub const PROFILE: &str = include_str!("data/host-v2.txt");

/// The default number of cases. Failures are printed, not saved.
pub fn cases() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The path of a data file.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/tool/data")
        .join(name)
}

/// The tool, without a terminal or environment.
pub fn exitprof() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exitprof"));
    command.env_clear();
    command
}

/// What a run prints. It must succeed.
pub fn output(command: &mut Command) -> String {
    let output = command.assert().success().get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// What `exitprof diff` prints, without the folders of the files.
pub fn diff(files: [&Path; 2]) -> String {
    let mut text = output(exitprof().arg("diff").args(files));
    for file in files {
        let folder = format!("{}/", file.parent().unwrap().display());
        text = text.replace(&folder, "");
    }
    text
}

/// What a run prints to its standard error until it ends.
pub fn complaints(child: &mut Child) -> String {
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// The directory.
pub struct Host(pub TempDir);

impl Host {
    /// A host with this profile.
    pub fn new(profile: &str) -> Host {
        let host = Host(TempDir::new().unwrap());
        host.load(profile);
        host
    }

    /// Loads the module, or changes its counters, atomically.
    pub fn load(&self, profile: &str) {
        let dir = self.0.path().join("kvm_exitprof");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("new"), profile).unwrap();
        fs::rename(dir.join("new"), dir.join("profile")).unwrap();
    }

    /// Unloads the module.
    pub fn unload(&self) {
        fs::remove_dir_all(self.0.path().join("kvm_exitprof")).unwrap();
    }

    /// A command of the tool on this host.
    pub fn exitprof(&self, name: &str) -> Command {
        let mut command = exitprof();
        command.args([name, "--debugfs"]).arg(self.0.path());
        // Its VMs are not this machine's processes.
        command.arg("--procfs").arg(self.0.path().join("proc"));
        command
    }
}

/// [`PROFILE`] in `epoch`, read `seconds` later, with more CPUIDs of 600 cycles each. Epochs
/// other than 7 began half a second before.
pub fn later(epoch: u32, seconds: u64, cpuids: u64) -> String {
    let cpuid = "host reason=10 name=CPUID exits=444 cycles=228442";
    let line = PROFILE
        .lines()
        .find(|line| line.starts_with(cpuid))
        .unwrap();
    let (before, bucket) = line.split_once(",9:").unwrap();
    let (bucket, after) = bucket.split_once(',').unwrap();
    let before = before.strip_prefix(cpuid).unwrap();
    let more = format!(
        "host reason=10 name=CPUID exits={} cycles={}{before},9:{},{after}",
        444 + cpuids,
        228_442 + 600 * cpuids,
        bucket.parse::<u64>().unwrap() + cpuids,
    );
    let time = 184_000_000_000 + seconds * 1_000_000_000;
    let since = match epoch {
        7 => 64_000_000_000,
        _ => time - 500_000_000,
    };
    PROFILE
        .replace(line, &more)
        .replace("since_ns=64000000000", &format!("since_ns={since}"))
        .replace("epoch=7", &format!("epoch={epoch}"))
        .replace("time_ns=184000000000", &format!("time_ns={time}"))
}
