// SPDX-License-Identifier: GPL-2.0
//! Others that record exits, on unpatched KVM: its tracepoints in the kernel's ring
//! buffer, `perf kvm stat`, a module in C, a BPF program, and exitprof with its own.

use crate::host::counting::Counting;
use crate::host::module;
use crate::vmm::Op;
use crate::vmm::cpu::CPUID;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

const TRACING: &str = "/sys/kernel/tracing";
const PROBE: &str = "/sys/kernel/debug/exit_probe";
const PERF_DATA: &str = "/tmp/perf.data";

/// A peer that records.
pub enum Peer {
    Tracepoints(&'static [&'static str]),
    Perf(Child),
    Probe,
    Bpf(Child),
    Exitprof(Counting),
}

/// Records KVM's `events` in the ring buffer, which overwrites the oldest.
pub fn tracepoints(events: &'static [&'static str]) -> Result<Peer> {
    File::create(format!("{TRACING}/trace"))?; // empties it
    for event in events {
        enable(event, true)?;
    }
    Ok(Peer::Tracepoints(events))
}

/// Starts `perf kvm stat record` for all CPUs, with its data in memory. It records
/// exits, entries, and accesses to devices in userspace.
pub fn perf() -> Result<Peer> {
    const CONTROL: [&str; 2] = ["/tmp/perf.ctl", "/tmp/perf.ack"];
    let [mut ctl, mut ack] = [fifo(CONTROL[0])?, fifo(CONTROL[1])?];
    let mut perf = Command::new("/usr/bin/perf");
    perf.args(["kvm", "stat", "record", "-a", "-o", PERF_DATA]);
    let control = format!("fifo:{}", CONTROL.join(","));
    perf.args(["--delay=-1", "--control", &control]);
    perf.env("HOME", "/tmp").stderr(Stdio::piped());
    let mut child = perf.spawn().context("perf")?;
    // The pipe keeps it until perf reads it.
    ctl.write_all(b"enable\n")?;
    for _ in 0..100 {
        if let Some(status) = child.try_wait()? {
            bail!("perf: {status}, {}", rest_of(child.stderr.take())?);
        }
        if ack.read(&mut [0; 8]).is_ok_and(|len| len > 0) {
            return Ok(Peer::Perf(child));
        }
        sleep(Duration::from_millis(100));
    }
    child.kill()?;
    bail!("perf has not begun to record")
}

/// A named pipe whose ends do not block.
fn fifo(path: &str) -> Result<File> {
    let name = CString::new(path)?;
    // SAFETY: a NUL-terminated string, alive for the call.
    ensure!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) } == 0, "{path}");
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK);
    options.open(path).context(path.to_owned())
}

/// Loads a module that counts exits and cycles in per-CPU variables, by probes on
/// tracepoints.
pub fn probe() -> Result<Peer> {
    module::insert("/bench/exit_probe.ko".as_ref(), "")?;
    Ok(Peer::Probe)
}

/// Loads a BPF program that counts exits and times in per-CPU maps, compiled by the
/// kernel's JIT.
pub fn bpf() -> Result<Peer> {
    need_jit()?;
    let mut load = Command::new("/bench/load");
    load.arg("/bench/exits.bpf.o");
    load.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = load.spawn().context("load")?;
    let mut line = String::new();
    // One line, read byte by byte so that no buffer keeps what follows.
    let out = child.stdout.as_mut().context("a pipe")?;
    BufReader::with_capacity(1, out).read_line(&mut line)?;
    ensure!(line == "ready\n", "load says {line:?}");
    Ok(Peer::Bpf(child))
}

/// Starts exitprof, which counts by BPF.
pub fn exitprof() -> Result<Peer> {
    need_jit()?;
    Ok(Peer::Exitprof(Counting::start(&["--source", "bpf"])?))
}

fn need_jit() -> Result<()> {
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable")?;
    ensure!(jit.trim() == "1", "the BPF JIT is off");
    Ok(())
}

impl Peer {
    /// At least how many records it makes of an exit that `op` causes. Of the peers
    /// that count by reason, only CPUIDs are compared, which shows that their reasons
    /// are right.
    pub fn records_of(&self, op: Op) -> u64 {
        match self {
            Self::Tracepoints(events) => events.len() as u64,
            Self::Perf(_) => 2,
            Self::Probe | Self::Bpf(_) | Self::Exitprof(_) => u64::from(op == Op::Cpuid),
        }
    }

    /// Stops it, and returns how much it has recorded.
    pub fn finish(self) -> Result<u64> {
        match self {
            Self::Tracepoints(events) => {
                for event in events {
                    enable(event, false)?;
                }
                recorded()
            }
            Self::Perf(mut child) => {
                let pid = libc::pid_t::try_from(child.id())?;
                // SAFETY: a child keeps its number until it is waited for.
                unsafe { libc::kill(pid, libc::SIGINT) };
                let said = rest_of(child.stderr.take())?;
                child.wait()?;
                fs::remove_file(PERF_DATA)?;
                // "[ perf record: Captured and wrote 1.234 MB FILE (567 samples) ]"
                let samples = said.split('(').nth(1).and_then(|s| s.split(' ').next());
                let samples = samples.and_then(|s| s.parse().ok());
                samples.with_context(|| format!("perf says {said:?}"))
            }
            Self::Probe => {
                let said = fs::read_to_string(PROBE).context(PROBE)?;
                module::remove("exit_probe")?;
                Ok(cpuids(&said))
            }
            Self::Bpf(mut child) => {
                drop(child.stdin.take());
                let said = rest_of(child.stdout.take())?;
                ensure!(child.wait()?.success(), "load failed");
                Ok(cpuids(&said))
            }
            Self::Exitprof(counting) => {
                let all = counting.finish()?.of("all")?;
                Ok(all
                    .get(&CPUID.number().to_string())
                    .map_or(0, |tally| tally.0))
            }
        }
    }
}

/// The count of CPUIDs in lines `REASON COUNT TIME`.
fn cpuids(counts: &str) -> u64 {
    let count = |line: &str| line.strip_prefix("10 ")?.split(' ').next()?.parse().ok();
    counts.lines().find_map(count).unwrap_or(0)
}

fn rest_of(pipe: Option<impl Read>) -> Result<String> {
    let mut text = String::new();
    pipe.context("a pipe")?.read_to_string(&mut text)?;
    Ok(text)
}

fn enable(event: &str, on: bool) -> Result<()> {
    let path = format!("{TRACING}/events/kvm/{event}/enable");
    fs::write(&path, if on { "1" } else { "0" }).context(path)
}

/// How many events the ring buffers hold or have overwritten.
fn recorded() -> Result<u64> {
    let mut sum = 0;
    for cpu in fs::read_dir(format!("{TRACING}/per_cpu"))? {
        let stats = fs::read_to_string(cpu?.path().join("stats"))?;
        for line in stats.lines() {
            if let Some(("entries" | "overrun", number)) = line.split_once(": ") {
                sum += number.parse::<u64>()?;
            }
        }
    }
    Ok(sum)
}
