// SPDX-License-Identifier: GPL-2.0

//! What a source of counters says at one time.

pub mod histogram;
pub mod id;
mod parse;

use id::Id;
use profile::{counts::Tally, histogram::Histogram, isa::Isa, text::Account};
use serde::{Deserialize, Serialize};

/// The version of [`Snapshot`] as JSON.
pub const VERSION: u32 = 2;
/// The oldest version that is read.
pub const OLDEST: u32 = 1;

/// The counters of a host or guest at one time, or what they grew by between two.
///
/// As JSON, this is what `exitprof record` writes. The aliases are of version 1, which
/// lacks some of what is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`VERSION`].
    pub version: u32,
    /// Where it was read.
    #[serde(rename = "source")]
    pub origin: Origin,
    /// The instruction set that the reasons belong to.
    pub isa: Isa,
    /// What is counted: this loading of the module on a host, or in a guest the host, VM
    /// or vCPU that it is told of; none if the source does not say.
    pub identity: Option<Id>,
    /// Another number when the counters start from zero; not 0.
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// When it was read, in nanoseconds of the reader's CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// In a guest: which of its boots that clock is of.
    pub boot: Option<String>,
    /// Since when it counts, by the same clock, if that is known.
    pub since_ns: Option<u64>,
    /// The number of the host's CPUs that are online, if the source says.
    pub cpus: Option<u32>,
    /// Whether exits are recorded, if the source says.
    #[serde(alias = "sampling")]
    pub recording: Option<bool>,
    /// What the profiler costs, if the source says.
    pub account: Option<Account>,
    /// In a guest: how it was read.
    pub reading: Option<Reading>,
    /// The vCPUs that have counters of their own.
    pub attached: Vec<Vcpu>,
    /// What was counted; reasons without an exit may lack.
    #[serde(rename = "rows")]
    pub counters: Vec<Counter>,
}

/// Where a snapshot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// On the host: its debugfs.
    Host,
    /// In a guest that is told of all exits of its host.
    GuestOfHost,
    /// In a guest that is told of the VM's own exits.
    GuestOfVm,
    /// In a guest that is told of the reading vCPU's exits.
    GuestOfVcpu,
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
    /// What tells it from another of the same name; none if the source does not say.
    pub id: Option<Id>,
}

/// Whose exits a counter is of.
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

/// The counter of an owner and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    /// Whose they are.
    pub owner: Owner,
    /// The reason's number; none for those without a number of their own.
    pub reason: Option<u32>,
    /// What the kernel calls it.
    pub name: String,
    /// How many.
    pub exits: u64,
    /// The cycles of the host's TSC that their handling took, as far as it was timed.
    pub cycles: u64,
    /// How many of the exits were not timed, if the source says.
    pub untimed: Option<u64>,
    /// The histogram of the others, if the source has one and there are some. In a
    /// difference, `min` and `max` may be nothing but bounds: as good as the buckets and the
    /// values since the start make them.
    #[serde(alias = "distribution")]
    pub histogram: Option<Histogram>,
}

impl Counter {
    /// What was counted, as far as that is known.
    pub fn tally(&self) -> Tally {
        Tally {
            exits: self.exits,
            cycles: self.cycles,
            untimed: self.untimed.unwrap_or(0),
        }
    }

    /// How many of the exits were timed: all, if the source does not say. No counter
    /// that was read has more untimed exits than exits.
    pub fn timed(&self) -> u64 {
        self.exits.saturating_sub(self.untimed.unwrap_or(0))
    }
}

impl Snapshot {
    /// The counters of an owner.
    pub fn of<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a Counter> {
        let counters = self.counters.iter();
        counters.filter(move |counter| counter.owner == *owner)
    }

    /// The seconds that it is about, if that is known.
    pub fn seconds(&self) -> Option<f64> {
        let ns = self.time_ns.checked_sub(self.since_ns?)?;
        (ns > 0).then_some(ns as f64 / 1e9)
    }

    /// The part that `cycles` are of all CPUs' time, if it is known how many and since when.
    pub fn cpu_share(&self, cycles: u128) -> Option<f64> {
        let cpus = f64::from(self.cpus.filter(|&cpus| cpus > 0)?);
        let khz = f64::from(Some(self.tsc_khz).filter(|&khz| khz > 0)?);
        Some(cycles as f64 / (self.seconds()? * cpus * khz * 1e3))
    }
}
