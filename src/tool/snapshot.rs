// SPDX-License-Identifier: GPL-2.0

//! What a source of counters says at one time.

use anyhow::{Context, Result, bail, ensure};
use kvm_exitprof::profile::{
    counts::Sample,
    dist::{BUCKETS, Distribution},
    reason::Isa,
    text::{self, Line, Whose},
};
use serde::{Deserialize, Serialize};

/// The version of [`Snapshot`] as JSON.
pub const VERSION: u32 = 1;

/// The counters of a host or guest at one time, or what they grew by between two.
///
/// As JSON, this is what `exitprof record` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`VERSION`].
    pub version: u32,
    /// Where it was read.
    pub source: Source,
    /// The instruction set that the reasons belong to.
    pub isa: InstructionSet,
    /// Another number when the counters start from zero; not 0.
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// When it was read, in nanoseconds of the reader's CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// Since when it counts, by the same clock, if that is known.
    pub since_ns: Option<u64>,
    /// The number of the host's CPUs that are online, if the source says.
    pub cpus: Option<u32>,
    /// Whether exits are recorded, if the source says.
    pub sampling: Option<bool>,
    /// What the profiler costs, if the source says.
    pub account: Option<Account>,
    /// In a guest: how it was read.
    pub reading: Option<Reading>,
    /// The vCPUs that have counters of their own.
    pub attached: Vec<Vcpu>,
    /// The exits, by whose they are and by reason; reasons without an exit may lack.
    pub rows: Vec<Row>,
}

/// Where a snapshot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// On the host: its debugfs.
    Host,
    /// In a guest that is told of all exits of its host.
    GuestOfHost,
    /// In a guest that is told of the VM's own exits.
    GuestOfVm,
    /// In a guest that is told of the reading vCPU's exits.
    GuestOfVcpu,
}

/// See [`Isa`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum InstructionSet {
    Vmx,
    Svm,
}

impl From<Isa> for InstructionSet {
    fn from(isa: Isa) -> Self {
        match isa {
            Isa::Vmx => InstructionSet::Vmx,
            Isa::Svm => InstructionSet::Svm,
        }
    }
}

impl InstructionSet {
    /// The reason of the exits that CPUID causes.
    pub fn cpuid(self) -> u32 {
        match self {
            InstructionSet::Vmx => 10,
            InstructionSet::Svm => 0x72,
        }
    }
}

impl From<InstructionSet> for Isa {
    fn from(isa: InstructionSet) -> Self {
        match isa {
            InstructionSet::Vmx => Isa::Vmx,
            InstructionSet::Svm => Isa::Svm,
        }
    }
}

/// See [`text::Account`], in which the fields are described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Account {
    pub sample_cycles: u64,
    pub record_cycles: u64,
    pub memory_bytes: u64,
    pub suppressed: u64,
}

/// How a guest has read a snapshot: by CPUIDs, each of which is an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Whether all figures are of one time: of a snapshot that the host held.
    pub at_once: bool,
    /// Which run of exitprof has read it: when that began, in nanoseconds.
    pub reader: u64,
    /// The CPUIDs that the run had executed before: these are in the figures, unless
    /// the counters have started from zero since.
    pub before: u64,
    /// The CPUIDs of this reading that are not in its figures, and will be in the next.
    pub after: u64,
}

/// A vCPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vcpu {
    /// Its VM: `<pid>-<fd>`, as KVM's debugfs calls it.
    pub vm: String,
    /// Its number in the VM.
    pub vcpu: u32,
}

/// Whose exits a row is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// All that the source tells of, which includes the others.
    All,
    /// A vCPU.
    Vcpu(Vcpu),
    /// vCPUs that have ended.
    Ended,
    /// vCPUs without counters of their own.
    Unattributed,
    /// In a guest: those of reasons that it is not told one by one.
    Hidden,
}

/// The exits of an owner and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Whose they are.
    pub owner: Owner,
    /// The reason's number; none for those without a number of their own.
    pub reason: Option<u32>,
    /// What the kernel calls it.
    pub name: String,
    /// How many.
    pub exits: u64,
    /// The cycles of the host's TSC that their handling took.
    pub cycles: u64,
    /// How these are distributed, if the source says.
    pub distribution: Option<Cycles>,
}

/// A distribution of cycles; in a difference, `min` and `max` may be nothing but
/// bounds: as good as the histogram and the values since the start make them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycles {
    /// The least, of any exit.
    pub min: u64,
    /// The most, of any exit.
    pub max: u64,
    /// The exits of 2^n to 2^(n+1) - 1 cycles for each n; the first are also of 0
    /// cycles, and the last of any more.
    pub log2: [u64; BUCKETS],
}

impl From<Distribution> for Cycles {
    fn from(d: Distribution) -> Self {
        Cycles {
            min: d.min,
            max: d.max,
            log2: d.buckets,
        }
    }
}

impl Row {
    /// The exits and cycles.
    pub fn sample(&self) -> Sample {
        Sample {
            exits: self.exits,
            cycles: self.cycles,
        }
    }
}

impl Snapshot {
    /// What debugfs' file `profile` says: see [`text`].
    ///
    /// # Errors
    ///
    /// If `text` is not whole, or a line of it makes no sense.
    pub fn from_text(text: &str) -> Result<Snapshot> {
        let mut lines = text.lines().enumerate();
        let head = match lines.next().map(|(_, line)| Line::parse(line)) {
            Some(Ok(Line::Head(head))) => head,
            Some(Err(e)) => bail!("line 1: {e}"),
            _ => bail!("not a profile: it does not begin with one"),
        };
        ensure!(
            head.version == text::VERSION,
            "the profile is of version {}, and this exitprof knows only {}: use the one that came with the module",
            head.version,
            text::VERSION
        );
        let mut snapshot = Snapshot {
            version: VERSION,
            source: Source::Host,
            isa: head.isa.into(),
            epoch: head.epoch,
            tsc_khz: head.tsc_khz,
            time_ns: head.time_ns,
            since_ns: Some(head.since_ns),
            cpus: Some(head.cpus),
            sampling: Some(head.sampling),
            account: None,
            reading: None,
            attached: Vec::new(),
            rows: Vec::new(),
        };
        for (index, line) in lines {
            let number = index + 1;
            match Line::parse(line).map_err(|e| anyhow::anyhow!("line {number}: {e}"))? {
                Line::Head(_) => bail!("line {number}: a second beginning"),
                Line::Account(a) => {
                    snapshot.account = Some(Account {
                        sample_cycles: a.sample_cycles,
                        record_cycles: a.record_cycles,
                        memory_bytes: a.memory_bytes,
                        suppressed: a.suppressed,
                    })
                }
                Line::Attached { vm, vcpu } => snapshot.attached.push(Vcpu {
                    vm: vm.into(),
                    vcpu,
                }),
                Line::Row(row) => snapshot.rows.push(Row {
                    owner: match row.whose {
                        Whose::Host => Owner::All,
                        Whose::Vcpu(vm, vcpu) => Owner::Vcpu(Vcpu {
                            vm: vm.into(),
                            vcpu,
                        }),
                        Whose::Ended => Owner::Ended,
                        Whose::Unattributed => Owner::Unattributed,
                    },
                    reason: row.reason,
                    name: row.name.into(),
                    exits: row.sample.exits,
                    cycles: row.sample.cycles,
                    distribution: row.distribution.map(Cycles::from),
                }),
                Line::End { epoch, lines } => {
                    ensure!(
                        epoch == snapshot.epoch && lines == number as u64,
                        "the profile is not whole: its end does not fit its beginning"
                    );
                    snapshot.check()?;
                    return Ok(snapshot);
                }
                Line::Unknown => (),
            }
        }
        Err(anyhow::anyhow!("the profile is not whole: it has no end"))
    }

    /// What `exitprof record` wrote, or debugfs' file `profile` as it is.
    ///
    /// # Errors
    ///
    /// If it is neither, or not one that this exitprof understands.
    pub fn from_file(text: &str) -> Result<Snapshot> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }

        if !text.trim_start().starts_with('{') {
            return Snapshot::from_text(text);
        }
        let Version { version } = serde_json::from_str(text).context("not a snapshot")?;
        ensure!(
            version == VERSION,
            "the snapshot is of version {version}, and this exitprof knows only {VERSION}"
        );
        let snapshot: Snapshot = serde_json::from_str(text).context("not a snapshot")?;
        snapshot.check()?;
        Ok(snapshot)
    }

    /// Whether names are such as can be shown on a terminal.
    fn check(&self) -> Result<()> {
        let vms = self.rows.iter().filter_map(|row| match &row.owner {
            Owner::Vcpu(vcpu) => Some(&vcpu.vm),
            _ => None,
        });
        let names = (self.rows.iter().map(|row| &row.name)).chain(vms);
        let attached = self.attached.iter().map(|vcpu| &vcpu.vm);
        for name in names.chain(attached) {
            ensure!(
                !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic()),
                "{name:?} is no name of a reason or VM"
            );
        }
        Ok(())
    }

    /// The rows of an owner.
    pub fn of<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.owner == *owner)
    }

    /// The seconds that it is about, if that is known.
    pub fn seconds(&self) -> Option<f64> {
        let ns = self.time_ns.checked_sub(self.since_ns?)?;
        (ns > 0).then_some(ns as f64 / 1e9)
    }
}
