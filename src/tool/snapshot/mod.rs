// SPDX-License-Identifier: GPL-2.0

//! The counters of a host or guest at one time.

pub mod budget;
pub mod detail;
pub mod histogram;
pub mod id;
mod owner;
mod parse;
mod settle;
pub mod shape;

use budget::Budget;
use detail::{Detail, Entry, Nested, Place};
use id::Id;
use jiff::Timestamp;
pub use owner::{Owner, Vcpu};
use profile::{
    counts::Tally,
    detail::{Code, Kind},
    histogram::Histogram,
    isa::Isa,
    text::Account,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The version of [`Snapshot`] as JSON.
pub const VERSION: u32 = 2;
/// The oldest version that exitprof reads.
pub const OLDEST: u32 = 1;

/// The counters of a host or guest at one time, or what was added between two times.
///
/// `exitprof record` writes this as JSON. The aliases are the names of version 1, which
/// lacks some of the optional fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// [`VERSION`].
    pub version: u32,
    /// Where it was read.
    #[serde(rename = "source")]
    pub origin: Origin,
    /// The instruction set that the reasons belong to.
    #[schemars(with = "shape::Isa")]
    pub isa: Isa,
    /// What is counted: on a host, this load of the module; in a guest, the host, VM or
    /// vCPU whose exits it sees. None if the source does not say.
    pub identity: Option<Id>,
    /// Changes when the counters start from zero; not 0.
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz, 0 if unknown.
    pub tsc_khz: u32,
    /// When it was read, in nanoseconds of the reader's CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// When it was read: date and time of day (UTC). Copies of the file profile do not say.
    pub clock: Option<Timestamp>,
    /// The name of the machine that read it.
    pub machine: Option<String>,
    /// In a guest: the boot that this clock belongs to.
    pub boot: Option<String>,
    /// When the counters started from zero, by the same clock, if that is known; of a
    /// period, when it began.
    pub since_ns: Option<u64>,
    /// Of what was counted in a period, instead of since the counters started from zero.
    pub period: Option<Period>,
    /// The number of the host's online CPUs, if the source says.
    pub cpus: Option<u32>,
    /// Whether exits are being counted, if the source says.
    #[serde(alias = "sampling")]
    pub recording: Option<bool>,
    /// Whether phases are being recorded, if the source says.
    #[serde(default)]
    pub phases: Option<bool>,
    /// What the profiler costs, if the source says.
    #[schemars(with = "Option<shape::Account>")]
    pub account: Option<Account>,
    /// By BPF: how often guests were entered when no exit had been seen since the last entry. So
    /// many exits are not counted, at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// In a guest: how it was read.
    pub reading: Option<Reading>,
    /// The vCPUs with counters of their own.
    pub attached: Vec<Vcpu>,
    /// The names that QEMU or libvirt gave VMs, or those of their processes.
    #[serde(default)]
    pub vm_names: BTreeMap<String, String>,
    /// What was counted; reasons without exits may be missing.
    #[serde(rename = "rows")]
    pub counters: Vec<Counter>,
    /// Where the time of vCPUs went, if phases were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
    /// The kinds of details that were being recorded, if any were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<shape::Kind>")]
    pub detail_kinds: Vec<Kind>,
    /// The details of exits, if they were recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Entry<Detail>>,
    /// How much of the guest's instruction pointer was being recorded, if the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<shape::Code>")]
    pub code: Option<Code>,
    /// Where exits came from in the guest, if that was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Entry<Place>>,
}

/// Where a snapshot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// On the host: its debugfs.
    Host,
    /// On the host, with a BPF program on KVM's tracepoints. Times are from an exit to the next
    /// entry, in nanoseconds, as if they were cycles of a TSC of 1 GHz.
    Bpf,
    /// In a guest that sees the exits of all guests of its host.
    GuestOfHost,
    /// In a guest that sees the exits of its own VM.
    GuestOfVm,
    /// In a guest that sees the exits of the reading vCPU.
    GuestOfVcpu,
}

/// What the time of an exit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeOf {
    /// That of KVM's handler.
    Handler,
    /// That from the exit to the next entry of the guest, as `perf kvm stat` measures it.
    ExitToEntry,
}

impl Origin {
    /// Whether it is a host, which sees VMs and vCPUs.
    pub fn is_host(self) -> bool {
        matches!(self, Origin::Host | Origin::Bpf)
    }

    /// What the time of its exits is.
    pub fn time_of(self) -> TimeOf {
        match self {
            Origin::Bpf => TimeOf::ExitToEntry,
            _ => TimeOf::Handler,
        }
    }
}

/// How a guest read a snapshot. It executes CPUIDs, each of which is an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// Whether all figures belong to one time, because the host held a snapshot.
    pub at_once: bool,
    /// Which run of exitprof read it: when the run began, in nanoseconds.
    pub reader: u64,
    /// The CPUIDs that the run had executed before. They are in the figures, unless the
    /// counters have started from zero since.
    pub before: u64,
    /// The CPUIDs of this reading that are not in its figures, but in the next reading's.
    pub after: u64,
}

/// A period of counting.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Period {
    /// The command that ran meanwhile, if one did.
    pub command: Option<String>,
}

/// The counter of an owner and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    /// Whose exits.
    pub owner: Owner,
    /// The reason's number; none for reasons without a number of their own.
    pub reason: Option<u32>,
    /// The kernel's name for the reason.
    pub name: Arc<str>,
    /// The number of exits.
    pub exits: u64,
    /// The cycles of the host's TSC spent handling the timed exits.
    pub cycles: u64,
    /// The number of exits that were not timed, if the source says.
    pub untimed: Option<u64>,
    /// The histogram of the timed exits, if there are any and the source has histograms.
    /// In a difference, `min` and `max` may be bounds, derived from the buckets and from the
    /// values since the counters started.
    #[serde(alias = "distribution")]
    #[schemars(with = "Option<shape::Histogram>")]
    pub histogram: Option<Box<Histogram>>,
    /// Those that came from a nested guest; none if there are none, or if it is not known: see
    /// [`Snapshot::nested`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nested: Option<Box<Nested>>,
}

impl Counter {
    /// The numbers. Untimed exits count as 0 if the source does not say.
    pub fn tally(&self) -> Tally {
        Tally {
            exits: self.exits,
            cycles: self.cycles,
            untimed: self.untimed.unwrap_or(0),
        }
    }

    /// The number of timed exits: all, if the source does not say.
    pub fn timed(&self) -> u64 {
        self.exits.saturating_sub(self.untimed.unwrap_or(0))
    }
}

impl Snapshot {
    /// The same, but with other counters.
    pub fn with(&self, counters: Vec<Counter>) -> Snapshot {
        Snapshot {
            version: self.version,
            origin: self.origin,
            isa: self.isa,
            identity: self.identity,
            epoch: self.epoch,
            tsc_khz: self.tsc_khz,
            time_ns: self.time_ns,
            clock: self.clock,
            machine: self.machine.clone(),
            boot: self.boot.clone(),
            since_ns: self.since_ns,
            period: self.period.clone(),
            cpus: self.cpus,
            recording: self.recording,
            phases: self.phases,
            account: self.account,
            missed: self.missed,
            reading: self.reading,
            attached: self.attached.clone(),
            vm_names: self.vm_names.clone(),
            counters,
            budgets: Vec::new(),
            detail_kinds: self.detail_kinds.clone(),
            details: Vec::new(),
            code: self.code,
            places: Vec::new(),
        }
    }

    /// Those exits of a counter that came from nested guests; `None` if it is not known. Modules
    /// that record code tell them apart, by vCPU. Those of all guests are sums of vCPUs.
    pub fn nested(&self, counter: &Counter) -> Option<Nested> {
        let is_part = |owner: &Owner| matches!(owner, Owner::Vcpu(_) | Owner::Ended);
        let is_known = match counter.owner {
            Owner::All => self.counters.iter().any(|c| is_part(&c.owner)),
            _ => is_part(&counter.owner),
        };
        let nested = counter.nested.as_deref().copied().unwrap_or_default();
        (is_known && self.code.is_some()).then_some(nested)
    }

    /// The counters of an owner.
    pub fn of<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a Counter> {
        let counters = self.counters.iter();
        counters.filter(move |counter| counter.owner == *owner)
    }

    /// How many seconds it counted, if that is known.
    pub fn seconds(&self) -> Option<f64> {
        let ns = self.time_ns.checked_sub(self.since_ns?)?;
        (ns > 0).then_some(ns as f64 / 1e9)
    }

    /// The share that `cycles` have in the time of all CPUs, if that is known.
    pub fn cpu_share(&self, cycles: u128) -> Option<f64> {
        let cpus = f64::from(self.cpus.filter(|&cpus| cpus > 0)?);
        let khz = f64::from(Some(self.tsc_khz).filter(|&khz| khz > 0)?);
        Some(cycles as f64 / (self.seconds()? * cpus * khz * 1e3))
    }
}
