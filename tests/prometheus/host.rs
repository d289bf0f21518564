// SPDX-License-Identifier: GPL-2.0

//! A directory that stands for the debugfs of a host whose guests exit.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
};
use tempfile::TempDir;

use crate::exitprof;

/// The frequency of the TSC.
pub const HERTZ: f64 = 2e9;
/// Reasons: number, name, cycles of an exit, and the bucket of that.
const REASONS: [(u32, &str, u64, usize); 3] = [
    (10, "CPUID", 600, 9),
    (12, "HLT", 50_000, 15),
    (48, "EPT_VIOLATION", 3_000, 11),
];
/// VMs and their number of vCPUs.
const VMS: [(&str, u32); 3] = [("412-11", 2), ("977-14", 1), ("1044-9", 1)];

/// What has been counted.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub epoch: u32,
    /// How far the counters have come: each grows with it, in its own way.
    pub step: u64,
    /// Whether the last VM has ended.
    pub ended: bool,
}

/// A sample that Prometheus should have: its name, and its labels in order of their names.
pub type Key = (String, BTreeMap<String, String>);

impl Step {
    /// So far, with nothing reset and all VMs there.
    pub fn so_far(step: u64) -> Step {
        Step {
            epoch: 7,
            step,
            ended: false,
        }
    }

    /// The exits of a vCPU, the number of which counts all vCPUs.
    fn exits(self, vcpu: u64, reason: u32) -> u64 {
        self.step * (vcpu * 1000 + u64::from(reason)) + (1 << 40)
    }

    /// vCPUs: VM, number, and number among all.
    fn vcpus() -> impl Iterator<Item = (&'static str, u32, u64)> {
        let all = VMS
            .iter()
            .flat_map(|(vm, count)| (0..*count).map(move |vcpu| (*vm, vcpu)));
        all.zip(1..).map(|((vm, vcpu), nth)| (vm, vcpu, nth))
    }

    fn is_ended(self, vm: &str) -> bool {
        self.ended && vm == VMS[2].0
    }

    /// The file `profile`.
    pub fn profile(self) -> String {
        let mut lines = vec![format!(
            "profile version=2 isa=vmx id=00000000000000aa epoch={} tsc_khz=2000000 time_ns={} \
             since_ns=1000000000 cpus=4 recording=1 per_vcpu=1 histograms=1 phases=1",
            self.epoch,
            (self.step + 2) * 1_000_000_000
        )];
        lines.push(
            "account sample_cycles=24 record_cycles=61 memory_bytes=51200 suppressed=7".into(),
        );
        for (reason, name, cycles, bucket) in REASONS {
            let exits: u64 = Step::vcpus().map(|(.., nth)| self.exits(nth, reason)).sum();
            lines.push(format!(
                "host reason={reason} name={name} exits={exits} cycles={} untimed=0 min={cycles} \
                 max={cycles} log2={bucket}:{exits}",
                exits * cycles
            ));
        }
        for (vm, vcpu, nth) in Step::vcpus() {
            let owner = match self.is_ended(vm) {
                true => "ended",
                false => {
                    let vcpu = format!("vm={vm} vcpu={vcpu} id={nth:016x}");
                    lines.push(format!("attached {vcpu}"));
                    &format!("vcpu {vcpu}")
                }
            };
            let (kind, rest) = owner.split_once(' ').unwrap_or((owner, ""));
            let owner = |suffix: &str| format!("{kind}{suffix} {rest}").trim_end().to_owned();
            for (reason, name, cycles, _) in REASONS {
                let exits = self.exits(nth, reason);
                let name = format!("reason={reason} name={name}");
                lines.push(format!(
                    "{} {name} exits={exits} cycles={} untimed=0",
                    owner(""),
                    exits * cycles
                ));
                let of = |part: u64| exits * part;
                lines.push(format!(
                    "{} {name} exit_path={} handler={} run_loop={} userspace={} polling={} \
                     halted={} preempted={} sleeping={}",
                    owner("_phases"),
                    of(1),
                    of(2),
                    of(3),
                    of(4),
                    of(5),
                    of(6),
                    of(7),
                    of(8)
                ));
            }
            let exits: u64 = REASONS.iter().map(|r| self.exits(nth, r.0)).sum();
            lines.push(format!(
                "{} since=0 until={} guest={exits}",
                owner("_clock"),
                exits * 37
            ));
            lines.push(format!(
                "{} reason=10 name=CPUID exit=2 exit_name=IO trips={exits} cycles={}",
                owner("_userspace"),
                exits * 4
            ));
        }
        lines.push(format!(
            "end epoch={} lines={}",
            self.epoch,
            lines.len() + 1
        ));
        lines.join("\n") + "\n"
    }

    /// What Prometheus should have of it, whose exporter has series for all VMs, as long as
    /// these exist.
    pub fn samples(self) -> BTreeMap<Key, f64> {
        let mut samples = BTreeMap::new();
        let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string()));
            let key = (format!("exitprof_{name}"), labels.collect());
            *samples.entry(key).or_insert(0.0) += value;
        };
        for (reason, name, cycles, _) in REASONS {
            let reason_label = ("reason", name);
            for (vm, _, nth) in Step::vcpus() {
                let exits = self.exits(nth, reason);
                add("exits_total", &[reason_label], exits as f64);
                if self.is_ended(vm) {
                    continue;
                }
                add("vm_exits_total", &[("vm", vm), reason_label], exits as f64);
                for (phase, part) in [("exit_path", 1), ("handler", 2), ("sleeping", 8)] {
                    // Cycles of all vCPUs are added up before they become seconds.
                    let labels = [("vm", vm), ("phase", phase)];
                    add("vm_phase_seconds_total", &labels, (exits * part) as f64);
                }
                add(
                    "vm_handling_seconds_total",
                    &[("vm", vm), reason_label],
                    (exits * cycles) as f64,
                );
            }
            let exits: u64 = Step::vcpus().map(|(.., nth)| self.exits(nth, reason)).sum();
            add(
                "handling_seconds_total",
                &[reason_label],
                (exits * cycles) as f64,
            );
            add(
                "handling_duration_seconds_count",
                &[reason_label],
                exits as f64,
            );
            add(
                "handling_duration_seconds_sum",
                &[reason_label],
                (exits * cycles) as f64,
            );
            add(
                "phase_seconds_total",
                &[reason_label, ("phase", "halted")],
                (exits * 6) as f64,
            );
            add(
                "userspace_exits_total",
                &[("reason", "CPUID"), ("exit", "IO")],
                exits as f64,
            );
        }
        for ((name, _), value) in &mut samples {
            if name.contains("_seconds") && !name.ends_with("_count") {
                *value /= HERTZ;
            }
        }
        samples
    }
}

/// A host, and what is read there.
pub struct Host {
    pub dir: TempDir,
    exporter: Option<Child>,
}

impl Host {
    pub fn new(step: Step) -> Host {
        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("kvm_exitprof")).unwrap();
        let host = Host {
            dir,
            exporter: None,
        };
        host.count(step);
        host
    }

    /// The counters change, all at one time.
    pub fn count(&self, step: Step) {
        let dir = self.dir.path().join("kvm_exitprof");
        fs::write(dir.join("new"), step.profile()).unwrap();
        fs::rename(dir.join("new"), dir.join("profile")).unwrap();
    }

    /// The module is unloaded.
    pub fn unload(&self) {
        fs::remove_file(self.dir.path().join("kvm_exitprof/profile")).unwrap();
    }

    /// Where debugfs and procfs seem to be.
    pub fn mounts(&self) -> [&Path; 2] {
        [self.dir.path(), Path::new("/nonexistent")]
    }

    /// Starts the exporter, and returns its address.
    pub fn export(&mut self, arguments: &[&str]) -> String {
        let [debugfs, procfs] = self.mounts();
        let mut command = exitprof();
        command.args(["exporter", "--listen", "127.0.0.1:0", "--source", "host"]);
        command
            .arg("--debugfs")
            .arg(debugfs)
            .arg("--procfs")
            .arg(procfs);
        let mut child = command
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let says = child.stderr.take().unwrap();
        self.exporter = Some(child);
        let mut says = BufReader::new(says);
        says.read_line(&mut line).unwrap();
        // It must not fail to say something later.
        std::thread::spawn(move || says.lines().for_each(drop));
        let address = line.strip_prefix("exitprof: listening on http://");
        let address = address.and_then(|line| line.trim_end().strip_suffix("/metrics"));
        address.expect(&line).into()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut exporter) = self.exporter.take() {
            let _ = exporter.kill();
            let _ = exporter.wait();
        }
    }
}
