// SPDX-License-Identifier: GPL-2.0

//! What a source of counters says at one time, and the difference of two such.

use anyhow::{Context, Result, bail, ensure};
use kvm_exitprof::profile::{
    counts::Sample,
    dist::{BUCKETS, Distribution, bounds},
    reason::Isa,
    text::{self, Line, Whose},
};
use serde::{Deserialize, Serialize};

/// The version of [`Snapshot`] as JSON.
pub const VERSION: u32 = 1;

/// The counters of a host or guest at one time, or what they grew by between two.
///
/// As JSON, this is what `exitprof record` writes and `--format json` prints.
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

/// A vCPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vcpu {
    /// Its VM: `<pid>-<fd>`, as KVM's debugfs calls it.
    pub vm: String,
    /// Its number in the VM.
    pub vcpu: u32,
}

/// Whose exits a row is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Cycles {
    /// What was added since `earlier`; all if that is none.
    fn since(&self, earlier: Option<&Cycles>) -> Cycles {
        let Some(earlier) = earlier else {
            return self.clone();
        };
        let mut log2 = self.log2;
        for (now, before) in log2.iter_mut().zip(earlier.log2) {
            *now = now.wrapping_sub(before);
        }
        let taken = || (0..BUCKETS).filter(|&bucket| log2[bucket] > 0);
        let lowest = taken().next().map_or(u64::MAX, |bucket| bounds(bucket).0);
        let highest = taken().next_back().map_or(0, |bucket| bounds(bucket).1);
        Cycles {
            min: if self.min < earlier.min {
                self.min
            } else {
                lowest.max(self.min)
            },
            max: highest.min(self.max),
            log2,
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

    /// Whether both are of the same owner's exits of the same reason.
    fn is_of(&self, other: &Row) -> bool {
        self.owner == other.owner && self.reason == other.reason
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
                    return Ok(snapshot);
                }
                Line::Unknown => (),
            }
        }
        Err(anyhow::anyhow!("the profile is not whole: it has no end"))
    }

    /// What was counted since `earlier`.
    ///
    /// # Errors
    ///
    /// If they are not of the same counters, or of the other order.
    pub fn since(&self, earlier: &Snapshot) -> Result<Snapshot> {
        ensure!(
            self.epoch == earlier.epoch,
            "the counters have started from zero in between"
        );
        ensure!(
            self.source == earlier.source && self.isa == earlier.isa,
            "they are of different sources"
        );
        self.time_ns
            .checked_sub(earlier.time_ns)
            .context("the one that is said to be earlier was read later")?;
        let rows = self.rows.iter().filter_map(|row| {
            let before = earlier.rows.iter().find(|before| before.is_of(row));
            let Some(before) = before else {
                return Some(row.clone());
            };
            let exits = row.exits.wrapping_sub(before.exits);
            (exits > 0).then(|| Row {
                exits,
                cycles: row.cycles.wrapping_sub(before.cycles),
                distribution: (row.distribution.as_ref())
                    .map(|now| now.since(before.distribution.as_ref())),
                ..row.clone()
            })
        });
        Ok(Snapshot {
            since_ns: Some(earlier.time_ns),
            rows: rows.collect(),
            ..self.clone()
        })
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
