// SPDX-License-Identifier: GPL-2.0
//! exitprof, as it counts by BPF beside a test.

use crate::harness::{Skip, watchdog};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

/// Where the image has it.
const EXITPROF: &str = "/bin/exitprof";

/// A run of exitprof, which has attached its BPF program.
pub struct Counting {
    child: Child,
    /// exitprof, which is the child, or the child's.
    exitprof: u32,
}

/// What it has recorded.
#[derive(Debug)]
pub struct Recording(Value);

/// The exits of an owner and reason, their nanoseconds, and those that have no time.
pub type Tally = (u64, u64, u64);

/// Skips the test if the kernel has no BPF.
pub fn need_bpf() -> Result<()> {
    match Path::new("/proc/sys/kernel/unprivileged_bpf_disabled").exists() {
        true => Ok(()),
        false => Err(Skip::because("the kernel has no BPF")),
    }
}

/// What exitprof says to its standard error, when it must fail. `change` may change how it is
/// run.
pub fn refusal(arguments: &[&str], change: impl FnOnce(&mut Command)) -> Result<String> {
    let mut command = Command::new(EXITPROF);
    command.args(arguments);
    change(&mut command);
    let output = command.output().context(EXITPROF)?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    Ok(said)
}

impl Counting {
    /// Starts it with `source` among its arguments, and waits until it counts.
    pub fn start(source: &[&str]) -> Result<Self> {
        Self::run(Command::new(EXITPROF), source, |child| Ok(Some(child)))
    }

    /// The same, where it sees no other processes. Skips the test if the kernel has no PID
    /// namespaces.
    pub fn start_in_namespace(source: &[&str]) -> Result<Self> {
        if !Path::new("/proc/self/ns/pid").exists() {
            return Err(Skip::because("the kernel has no PID namespaces"));
        }
        let mut command = Command::new("/bin/busybox");
        command.args(["unshare", "-p", "-f", EXITPROF]);
        Self::run(command, source, child_of)
    }

    fn run(
        mut command: Command,
        source: &[&str],
        exitprof: impl Fn(u32) -> Result<Option<u32>>,
    ) -> Result<Self> {
        need_bpf()?;
        command.args(["record", "--for", "3600", "-"]).args(source);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context(EXITPROF)?;
        // It waits for a signal when it has read the counters first.
        loop {
            if let Some(exitprof) = exitprof(child.id())?
                && handles_interrupts(&fs::read_to_string(format!("/proc/{exitprof}/status"))?)?
            {
                return Ok(Self { child, exitprof });
            }
            watchdog::check()?;
            if child.try_wait()?.is_some() {
                let mut said = String::new();
                child
                    .stderr
                    .take()
                    .context("a pipe")?
                    .read_to_string(&mut said)?;
                anyhow::bail!("exitprof has ended: {said}");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it, and returns what it has recorded. It must have seen all exits.
    pub fn finish(self) -> Result<Recording> {
        self.finish_but(0)
    }

    /// The same, but it must have missed so many.
    pub fn finish_but(self, missed: u64) -> Result<Recording> {
        let pid = libc::pid_t::try_from(self.exitprof)?;
        // SAFETY: a child keeps its number until it is waited for.
        unsafe { libc::kill(pid, libc::SIGINT) };
        let output = self.child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", output.status);
        let recording = Recording(serde_json::from_slice(&output.stdout)?);
        ensure!(recording.0["source"] == "bpf", "{recording:?}");
        ensure!(
            recording.0["missed"] == missed,
            "not {missed} exits were missed: {recording:?}"
        );
        Ok(recording)
    }
}

/// A child of the process.
fn child_of(process: u32) -> Result<Option<u32>> {
    let wanted = format!("PPid:\t{process}");
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        // Others end meanwhile.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == wanted) {
            let name = entry.file_name();
            return Ok(name.to_str().and_then(|name| name.parse().ok()));
        }
    }
    Ok(None)
}

/// Whether the process has a handler for SIGINT.
fn handles_interrupts(status: &str) -> Result<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    // A process that has ended has none.
    let Some(mask) = line else { return Ok(false) };
    Ok(u64::from_str_radix(mask.trim(), 16)? >> (libc::SIGINT - 1) & 1 == 1)
}

impl Recording {
    /// The tallies by reason of `all` guests, of vCPUs that have `ended`, or the like.
    pub fn of(&self, owner: &str) -> Result<BTreeMap<String, Tally>> {
        self.tallies(|found| found == owner)
    }

    /// The tallies by reason of a vCPU.
    pub fn of_vcpu(&self, vm: &str, vcpu: u32) -> Result<BTreeMap<String, Tally>> {
        self.tallies(|found| found["vcpu"]["vm"] == vm && found["vcpu"]["vcpu"] == vcpu)
    }

    fn tallies(&self, is_owner: impl Fn(&Value) -> bool) -> Result<BTreeMap<String, Tally>> {
        let mut tallies = BTreeMap::new();
        for row in self.rows()?.iter().filter(|row| is_owner(&row["owner"])) {
            let number = |key: &str| row[key].as_u64().with_context(|| format!("{key} of {row}"));
            let reason = row["reason"].as_u64();
            let reason = reason.map_or("other".into(), |reason| reason.to_string());
            let tally = (number("exits")?, number("cycles")?, number("untimed")?);
            let old = tallies.insert(reason, tally);
            ensure!(old.is_none(), "{row} twice");
        }
        Ok(tallies)
    }

    /// How many exits of a vCPU have each key of a kind of details.
    pub fn keys(&self, vm: &str, vcpu: u32, kind: &str) -> Result<BTreeMap<u64, u64>> {
        let mut keys = BTreeMap::new();
        for entry in self.0["details"].as_array().into_iter().flatten() {
            let owner = &entry["owner"]["vcpu"];
            if entry["kind"] == kind && owner["vm"] == vm && owner["vcpu"] == vcpu {
                let key = entry["key"].as_str().context("a key")?;
                let exits = entry["exits"].as_u64().context("exits")?;
                keys.insert(u64::from_str_radix(key, 16)?, exits);
            }
        }
        Ok(keys)
    }

    /// Checks that histograms have the timed exits, but for one at most of each thread that has
    /// not entered its guest again.
    pub fn check_histograms(&self, threads: u64) -> Result<()> {
        let mut open = 0;
        for row in self.rows()?.iter().filter(|row| row["owner"] == "all") {
            let number = |value: &Value| value.as_u64().with_context(|| format!("{row}"));
            let timed = number(&row["exits"])? - number(&row["untimed"])?;
            let histogram = &row["histogram"];
            let buckets = histogram["log2"].as_array();
            let counts = buckets.into_iter().flatten().map(number);
            let counts: Vec<u64> = counts.collect::<Result<_>>()?;
            let sum: u64 = counts.iter().sum();
            ensure!(sum <= timed, "{sum} of {timed} in {row}");
            open += timed - sum;
            if let Some(average) = number(&row["cycles"])?.checked_div(sum) {
                let (min, max) = (number(&histogram["min"])?, number(&histogram["max"])?);
                ensure!((min..=max).contains(&average), "{row}");
                let ends = [min, max].map(profile::histogram::bucket);
                let taken = |bucket: &usize| counts[*bucket] > 0;
                let found = [
                    (0..counts.len()).find(taken),
                    (0..counts.len()).rfind(taken),
                ];
                ensure!(found == ends.map(Some), "{row}");
            }
        }
        ensure!(open <= threads, "{open} exits have no time yet: {self:?}");
        Ok(())
    }

    fn rows(&self) -> Result<&Vec<Value>> {
        self.0["rows"].as_array().context("there are no rows")
    }
}
