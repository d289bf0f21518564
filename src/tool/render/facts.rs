// SPDX-License-Identifier: GPL-2.0

//! What programs read besides rows. The comments on the fields are their descriptions in the
//! schema.

use crate::{
    budget::{Breakdown, GUEST},
    comparison::{Comparison, Pair, Part, Times},
    continuity::Break,
    rate::Stability,
    snapshot::{Origin, Reading, Snapshot, TimeOf, id::Id},
    view::View,
};
use jiff::Timestamp;
use profile::{isa::Isa, text::Account};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The version of the format. It changes when a program written for the old one would
/// misunderstand the new one.
pub const VERSION: u32 = 3;

/// What each document says of the snapshot that it is made of.
#[derive(Serialize, JsonSchema)]
pub struct Head {
    /// Version of the format: 3. Fields may be added at any time; the version changes when a
    /// program written for the old one would misunderstand the new one. In version 2, exits
    /// were called samples.
    version: u32,
    /// Where it was read.
    #[serde(rename = "source")]
    origin: Origin,
    /// The instruction set that the reasons belong to.
    #[schemars(with = "crate::snapshot::shape::Isa")]
    isa: Isa,
    /// What the time of an exit is: that of KVM's handler, or by BPF that from the exit to the next
    /// entry of the guest.
    time_of: TimeOf,
    /// Frequency of the host's TSC in kHz, 0 if unknown. By BPF, 1000000: there, cycles are
    /// nanoseconds.
    tsc_khz: u32,
    /// When it was read: date and time of day (UTC).
    pub(super) clock: Option<Timestamp>,
    /// The name of the machine that read it.
    machine: Option<String>,
}

impl Head {
    /// That of `snapshot`.
    pub fn new(snapshot: &Snapshot) -> Head {
        Head {
            version: VERSION,
            origin: snapshot.origin,
            isa: snapshot.isa,
            time_of: snapshot.origin.time_of(),
            tsc_khz: snapshot.tsc_khz,
            clock: snapshot.clock,
            machine: snapshot.machine.clone(),
        }
    }
}

/// What `report` and `stat` print: a line for each table.
#[derive(Serialize, JsonSchema)]
pub struct Report {
    #[serde(flatten)]
    head: Head,
    /// What is counted: on a host, this load of the module; in a guest, the host, VM or vCPU
    /// whose exits it sees. Null if the module does not tell.
    identity: Option<Id>,
    /// Changes when the counters start from zero.
    epoch: u32,
    /// How many seconds it counted.
    seconds: Option<f64>,
    /// Number of the host's online CPUs.
    cpus: Option<u32>,
    /// Whether exits are being counted.
    recording: Option<bool>,
    /// What the profiler costs.
    #[schemars(with = "Option<crate::snapshot::shape::Account>")]
    account: Option<Account>,
    /// By BPF: how many exits, at least, it did not see.
    missed: Option<u64>,
    /// In a guest: how it was read.
    reading: Option<Reading>,
    /// All selected exits of any reason, which percentages refer to.
    total: Total,
    /// Of `report --rate`: whether the rate is stable.
    rate: Option<Stability>,
    /// Of `stat`: the end of the interval, in seconds since the first one began.
    time: Option<f64>,
}

/// What `report --phases` and `stat --phases` print: a line for each budget.
#[derive(Serialize, JsonSchema)]
pub struct PhaseReport {
    #[serde(flatten)]
    head: Head,
    /// How many seconds it counted.
    seconds: Option<f64>,
    /// The time of all selected vCPUs while phases were recorded, in cycles.
    elapsed: u128,
    /// Where it went: the guest, and each phase. They add up to `elapsed`.
    budget: Vec<Share>,
    /// The exits to userspace.
    userspace_exits: Vec<Trips>,
    /// Of `stat`: the end of the interval, in seconds since the first one began.
    time: Option<f64>,
}

/// What `report --details` prints: a line.
#[derive(Serialize, JsonSchema)]
pub struct DetailReport {
    /// Version of the format: 3, as of `report`.
    version: u32,
    /// Where it was read.
    #[serde(rename = "source")]
    origin: Origin,
    /// The instruction set that the reasons belong to.
    #[schemars(with = "crate::snapshot::shape::Isa")]
    isa: Isa,
    /// What the time of an exit is: that of KVM's handler, or by BPF that from the exit to the next
    /// entry of the guest.
    time_of: TimeOf,
    /// Frequency of the host's TSC in kHz, 0 if unknown. By BPF, 1000000: there, cycles are
    /// nanoseconds.
    tsc_khz: u32,
    /// When it was read: date and time of day (UTC).
    clock: Option<Timestamp>,
    /// How many seconds it counted.
    seconds: Option<f64>,
    /// The kinds of details that were being recorded.
    #[schemars(with = "Vec<crate::snapshot::shape::Kind>")]
    kinds: Vec<profile::detail::Kind>,
    /// All selected exits of any reason, which percentages refer to.
    total: Total,
}

impl DetailReport {
    /// What is known of a view of `snapshot`.
    pub fn new(snapshot: &Snapshot, view: &View) -> DetailReport {
        DetailReport {
            version: VERSION,
            origin: snapshot.origin,
            isa: snapshot.isa,
            time_of: snapshot.origin.time_of(),
            tsc_khz: snapshot.tsc_khz,
            clock: snapshot.clock,
            seconds: snapshot.seconds(),
            kinds: snapshot.detail_kinds.clone(),
            total: Total {
                exits: view.total.exits,
                cycles: view.total.cycles,
                untimed: view.total.untimed,
            },
        }
    }
}

/// A part of the time.
#[derive(Serialize, JsonSchema)]
struct Share {
    /// `guest`, or a phase: `exit_path`, `handler`, `run_loop`, `userspace`, `polling`,
    /// `halted`, `preempted` or `sleeping`.
    phase: &'static str,
    /// The time in cycles.
    cycles: u128,
    /// Its share in percent; null if no time has passed.
    percent: Option<f64>,
}

/// Exits to userspace.
#[derive(Serialize, JsonSchema)]
struct Trips {
    /// The number of the reason of the exit that led there, if it has one.
    reason: Option<u32>,
    /// The reason's name, or "none" before the first exit.
    name: Arc<str>,
    /// The number of the KVM_EXIT_*.
    exit: u32,
    /// Its name without the prefix, or "other".
    exit_name: Arc<str>,
    /// How often userspace was entered and left.
    trips: u128,
    /// The cycles there.
    cycles: u128,
}

impl PhaseReport {
    /// What is known of `breakdown`, which is of `snapshot`. It may be of an interval that ended
    /// after so many seconds.
    pub fn new(snapshot: &Snapshot, breakdown: &Breakdown, time: Option<f64>) -> PhaseReport {
        let trips = |trips: &crate::budget::Trips| Trips {
            reason: trips.reason,
            name: trips.name.clone(),
            exit: trips.exit,
            exit_name: trips.exit_name.clone(),
            trips: trips.trips,
            cycles: trips.cycles,
        };
        PhaseReport {
            head: Head::new(snapshot),
            seconds: snapshot.seconds(),
            elapsed: breakdown.time.elapsed,
            budget: breakdown.parts.iter().map(Share::new).collect(),
            userspace_exits: breakdown.trips.iter().map(trips).collect(),
            time,
        }
    }
}

impl Share {
    fn new(part: &crate::budget::Part) -> Share {
        Share {
            phase: part.name,
            cycles: part.cycles,
            percent: part.percent,
        }
    }
}

/// A sum of exits.
#[derive(Serialize, JsonSchema)]
struct Total {
    /// Number of exits.
    exits: u128,
    /// TSC cycles spent in the timed exits.
    cycles: u128,
    /// Number of exits that were not timed.
    untimed: Option<u128>,
}

impl Report {
    /// What is known of `view`, which is of `snapshot`.
    pub fn new(snapshot: &Snapshot, view: &View) -> Report {
        Report {
            head: Head::new(snapshot),
            identity: snapshot.identity,
            epoch: snapshot.epoch,
            seconds: snapshot.seconds(),
            cpus: snapshot.cpus,
            recording: snapshot.recording,
            account: snapshot.account,
            missed: snapshot.missed,
            reading: snapshot.reading,
            total: Total {
                exits: view.total.exits,
                cycles: view.total.cycles,
                untimed: view.total.untimed,
            },
            rate: None,
            time: None,
        }
    }

    /// The same, with the rate that was watched.
    pub fn with_rate(self, rate: Option<Stability>) -> Report {
        Report { rate, ..self }
    }

    /// The same, of an interval that ended after so many seconds.
    pub fn with_time(self, time: Option<f64>) -> Report {
        Report { time, ..self }
    }
}

/// What `diff` prints: a line.
#[derive(Serialize, JsonSchema)]
pub struct Diff {
    /// Version of the format: 3, as of `report`.
    version: u32,
    /// The files that are compared, the first of which is a.
    files: Vec<File>,
    /// Whether b continues a: then b is what was added since a.
    continued: bool,
    /// Whether only the counters suggest that, as for guests in recordings of version 1.
    presumed: bool,
    /// Why b does not continue a.
    separate: Option<Break>,
    /// How many seconds a counted.
    seconds_a: Option<f64>,
    /// How many seconds b counted.
    seconds_b: Option<f64>,
    /// What the time of an exit is, in all of them.
    time_of: TimeOf,
    /// The unit of averages and times.
    times: Times,
}

/// A file of `diff`.
#[derive(Serialize, JsonSchema)]
struct File {
    /// Its name.
    file: String,
    /// The name of the machine that recorded it.
    machine: Option<String>,
    /// When it was recorded.
    clock: Option<Timestamp>,
    /// The command that ran meanwhile, if one did.
    command: Option<String>,
    /// How many seconds it counted: if it continues the one before, since that.
    seconds: Option<f64>,
    /// Whether it continues the one before.
    continued: bool,
    /// Why it does not.
    separate: Option<Break>,
    /// All selected exits.
    total: Total,
    /// With --phases: where the time of all selected vCPUs went, the guest and each phase.
    budget: Option<Vec<Share>>,
}

impl Diff {
    /// What is known of a comparison.
    pub fn new(comparison: &Comparison) -> Diff {
        let parts = &comparison.parts;
        let seconds = |index: usize| parts.get(index).and_then(|part| part.snapshot.seconds());
        let second = parts.get(1);
        Diff {
            version: VERSION,
            files: (0..parts.len())
                .map(|index| File::new(comparison, index))
                .collect(),
            continued: second.is_some_and(|part| part.continued),
            presumed: second.is_some_and(|part| part.presumed),
            separate: second.and_then(|part| part.separate),
            seconds_a: seconds(0),
            seconds_b: seconds(1),
            time_of: comparison.time_of(),
            times: comparison.times,
        }
    }
}

impl File {
    fn new(comparison: &Comparison, index: usize) -> File {
        let part = &comparison.parts[index];
        let Part { snapshot, sum, .. } = part;
        let share = |pair: &Pair| Share {
            phase: pair.phase.unwrap_or(GUEST),
            cycles: pair.side(index).cycles,
            percent: pair.side(index).time_percent,
        };
        File {
            file: part.file.clone(),
            machine: snapshot.machine.clone(),
            clock: snapshot.clock,
            command: (snapshot.period.as_ref()).and_then(|period| period.command.clone()),
            seconds: snapshot.seconds(),
            continued: part.continued,
            separate: part.separate,
            total: Total {
                exits: sum.exits,
                cycles: sum.cycles,
                untimed: sum.untimed,
            },
            budget: (comparison.budget.as_ref()).map(|all| all.iter().map(share).collect()),
        }
    }
}
