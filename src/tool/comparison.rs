// SPDX-License-Identifier: GPL-2.0

//! Snapshots side by side, row by row.

use crate::{
    continuity::Break,
    select::{Key, Selection},
    snapshot::{Snapshot, TimeOf},
    view::{Row, Sum, View, change},
};
use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// The most snapshots that can be compared: they are called A to Z.
pub const MOST: usize = 26;

/// Several snapshots, the first of which is what the others are compared with.
#[derive(Debug)]
pub struct Comparison {
    /// The snapshots.
    pub parts: Vec<Part>,
    /// The unit of averages and times.
    pub times: Times,
    /// Whether exits and times are per second.
    pub per_second: bool,
    /// The rows, in order. If phases are compared, the guest's is the first.
    pub rows: Vec<Pair>,
    /// If phases are compared, the parts of the time. The largest comes first.
    pub budget: Option<Vec<Pair>>,
}

/// One of the snapshots.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its file.
    pub file: String,
    /// What it counted: if it continues the one before, what was added since.
    pub snapshot: Snapshot,
    /// Whether it continues the one before.
    pub continued: bool,
    /// Whether only the counters suggest that: older modules have no identities.
    pub presumed: bool,
    /// Why it does not continue the one before.
    pub separate: Option<Break>,
    /// The sum of all rows.
    pub sum: Side,
}

/// The unit of averages and times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// Nanoseconds.
    Ns,
    /// Cycles of the TSC of each snapshot's host.
    Cycles,
}

impl Times {
    /// What makes cycles of a snapshot a time in this unit.
    pub fn scale(self, snapshot: &Snapshot) -> f64 {
        match self {
            Times::Ns => 1e6 / f64::from(snapshot.tsc_khz),
            Times::Cycles => 1.0,
        }
    }
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Change of the time
    Time,
    /// Change of the number of exits
    Exits,
    /// Change of the average time
    Avg,
    /// Reason's number, or name of the VM or vCPU, in ascending order
    Reason,
}

/// A row of all snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What the row counts.
    pub key: Key,
    /// The VM's name, if the row is of one and it has a name.
    pub vm_name: Option<String>,
    /// The phase, or the guest, if the row is of one.
    pub phase: Option<&'static str>,
    /// In each snapshot.
    pub sides: Vec<Side>,
}

/// A row in one of the snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Side {
    /// The number of exits.
    pub exits: u128,
    /// The cycles of the timed exits.
    pub cycles: u128,
    /// Exits per second, if they are compared per second.
    pub exits_per_second: Option<f64>,
    /// Their share of all exits.
    pub exits_percent: Option<f64>,
    /// Their share of all cycles.
    pub time_percent: Option<f64>,
    /// The average time of an exit.
    pub avg: Option<f64>,
    /// The time of all exits, per second if exits are; unknown if none was timed.
    pub time: Option<f64>,
    /// The number of exits that were not timed, if that is known.
    pub untimed: Option<u128>,
}

impl Comparison {
    /// Compares what `selection` selects of the snapshots in `files`, in cycles if `cycles`
    /// asks for them or a frequency is unknown.
    ///
    /// # Errors
    ///
    /// If their reasons have nothing in common, they are in the wrong order, or nothing is
    /// selected.
    pub fn new(
        files: Vec<(String, Snapshot)>,
        selection: &Selection,
        order: Order,
        cycles: bool,
    ) -> Result<Comparison> {
        ensure!(
            files.len() <= MOST,
            "at most {MOST} recordings can be compared"
        );
        let mut parts: Vec<Part> = Vec::new();
        let mut before: Option<Snapshot> = None;
        for (file, whole) in files {
            let part = match &before {
                None => Part::first(file, whole.clone()),
                Some(before) => Part::after(before, file, whole.clone(), parts.len())?,
            };
            parts.push(part);
            before = Some(whole);
        }
        let has_khz = parts.iter().all(|part| part.snapshot.tsc_khz > 0);
        let times = if !cycles && has_khz {
            Times::Ns
        } else {
            Times::Cycles
        };
        let has_seconds = |part: &Part| part.snapshot.seconds().is_some();
        let per_second = parts.iter().all(has_seconds) && !parts.iter().all(Part::is_command);
        let rows = rows(&mut parts, selection, times, per_second)?;
        let mut comparison = Comparison {
            parts,
            times,
            per_second,
            rows,
            budget: None,
        };
        comparison.rows.sort_by(|x, y| order.of(x, y));
        Ok(comparison)
    }

    /// What the time of an exit is, in all parts.
    pub fn time_of(&self) -> TimeOf {
        let first = self.parts.first();
        first.map_or(TimeOf::Handler, |part| part.snapshot.origin.time_of())
    }

    /// Whether each part did the same work: a command does, however long that takes.
    pub fn is_same_work(&self) -> bool {
        self.parts.iter().all(Part::is_command)
    }

    /// The sums of all rows, as a row.
    pub fn sum(&self) -> Pair {
        Pair {
            key: Key::named("all"),
            vm_name: None,
            phase: None,
            sides: self.parts.iter().map(|part| part.sum).collect(),
        }
    }
}

impl Part {
    fn is_command(&self) -> bool {
        let period = self.snapshot.period.as_ref();
        period.is_some_and(|period| period.command.is_some())
    }

    fn first(file: String, snapshot: Snapshot) -> Part {
        Part {
            file,
            snapshot,
            continued: false,
            presumed: false,
            separate: None,
            sum: Side::default(),
        }
    }

    fn after(before: &Snapshot, file: String, snapshot: Snapshot, index: usize) -> Result<Part> {
        ensure!(
            before.isa == snapshot.isa,
            "the recordings are of different instruction sets, which have no reasons in common"
        );
        ensure!(
            before.origin.time_of() == snapshot.origin.time_of(),
            "the times of {} and {} mean different things: by BPF, they are from exit to entry; by \
             the module, those of handlers",
            letter(index - 1),
            letter(index)
        );
        let identified = before.identity.is_some() && snapshot.identity.is_some();
        let (snapshot, separate) = match snapshot.since(before) {
            _ if *before == snapshot => (snapshot, Some(Break::Same)),
            Ok(added) => (added, None),
            Err(_) if is_swapped(before, &snapshot) => {
                let [first, second] = [index - 1, index].map(letter);
                bail!("{first} was recorded after {second}, from the same counters: swap them")
            }
            Err(why) => (snapshot, Some(why)),
        };
        Ok(Part {
            continued: separate.is_none(),
            presumed: separate.is_none() && !identified && !before.origin.is_host(),
            separate,
            ..Part::first(file, snapshot)
        })
    }
}

/// What the snapshot of that index is called.
pub fn letter(index: usize) -> char {
    ('A'..='Z').nth(index).unwrap_or('?')
}

/// Whether `a` certainly continues `b`: the identities or the host's clock say so.
fn is_swapped(a: &Snapshot, b: &Snapshot) -> bool {
    let identified = a.identity.is_some() && b.identity.is_some();
    let timed = a.origin.is_host() && a.time_ns > b.time_ns;
    (identified || timed) && a.since(b).is_ok()
}

/// The rows of all parts, by key. Also sums up each part.
fn rows(
    parts: &mut [Part],
    selection: &Selection,
    times: Times,
    per_second: bool,
) -> Result<Vec<Pair>> {
    let snapshots: Vec<&Snapshot> = parts.iter().map(|part| &part.snapshot).collect();
    selection.check(&snapshots)?;
    let mut columns = Vec::new();
    for part in parts.iter_mut() {
        let snapshot = &part.snapshot;
        let seconds = snapshot.seconds().filter(|_| per_second);
        let scale = times.scale(snapshot);
        let view = View::of_part(snapshot, selection)?;
        part.sum = Side::sum(&view.selected, &view.total, scale, seconds);
        let sides = view.rows.iter();
        let sides = sides.map(|row| (row.key(), Side::new(row, scale, seconds)));
        columns.push(sides.collect::<BTreeMap<Key, Side>>());
    }
    let none = Side {
        exits_per_second: per_second.then_some(0.0),
        time: Some(0.0),
        untimed: Some(0),
        ..Side::default()
    };
    let keys: BTreeSet<&Key> = columns.iter().flat_map(BTreeMap::keys).collect();
    let vm_name = |vm: &str| {
        let mut parts = parts.iter().rev();
        parts.find_map(|part| part.snapshot.vm_names.get(vm).cloned())
    };
    let pair = |key: &Key| Pair {
        key: key.clone(),
        vm_name: key.vm.as_deref().and_then(vm_name),
        phase: None,
        sides: columns
            .iter()
            .map(|column| column.get(key).copied().unwrap_or(none))
            .collect(),
    };
    Ok(keys.into_iter().map(pair).collect())
}

impl Side {
    fn new(row: &Row, scale: f64, seconds: Option<f64>) -> Side {
        Side {
            exits: row.exits,
            cycles: row.cycles,
            exits_per_second: seconds.map(|s| row.exits as f64 / s),
            exits_percent: row.exits_percent,
            time_percent: row.time_percent,
            avg: row.avg.map(|avg| avg * scale),
            time: (row.exits == 0 || row.untimed != Some(row.exits))
                .then(|| row.cycles as f64 * scale / seconds.unwrap_or(1.0)),
            untimed: row.untimed,
        }
    }

    fn sum(sum: &Sum, all: &Sum, scale: f64, seconds: Option<f64>) -> Side {
        Side {
            exits: sum.exits,
            cycles: sum.cycles,
            exits_per_second: seconds.map(|s| sum.exits as f64 / s),
            exits_percent: crate::view::percent(sum.exits, all.exits),
            time_percent: crate::view::percent(sum.cycles, all.cycles),
            avg: sum.avg().map(|avg| avg * scale),
            time: (sum.exits == 0 || sum.cycles > 0)
                .then(|| sum.cycles as f64 * scale / seconds.unwrap_or(1.0)),
            untimed: sum.untimed,
        }
    }

    /// Exits, per second if they are compared so.
    pub fn rate(&self) -> f64 {
        self.exits_per_second.unwrap_or(self.exits as f64)
    }
}

impl Pair {
    /// The row in one of the snapshots.
    pub fn side(&self, index: usize) -> &Side {
        &self.sides[index]
    }

    fn ends(&self) -> (&Side, &Side) {
        (&self.sides[0], &self.sides[self.sides.len() - 1])
    }

    /// The change of the exits from the first to the last, in percent.
    pub fn exits_change(&self) -> Option<f64> {
        let (a, b) = self.ends();
        Some(change(a.rate(), b.rate()))
    }

    /// The change of the average time, in percent.
    pub fn avg_change(&self) -> Option<f64> {
        let (a, b) = self.ends();
        Some(change(a.avg?, b.avg?))
    }

    /// How much more time the exits take.
    pub fn time_change(&self) -> Option<f64> {
        let (a, b) = self.ends();
        Some(b.time? - a.time?)
    }

    /// The change of the time, in percent.
    pub fn time_change_percent(&self) -> Option<f64> {
        let (a, b) = self.ends();
        Some(change(a.time?, b.time?))
    }

    fn exits_added(&self) -> f64 {
        let (a, b) = self.ends();
        b.rate() - a.rate()
    }

    fn avg_added(&self) -> Option<f64> {
        let (a, b) = self.ends();
        Some(b.avg? - a.avg?)
    }
}

impl Order {
    /// The greatest change first. Otherwise equal rows stay in the order of their keys.
    pub fn of(self, x: &Pair, y: &Pair) -> Ordering {
        let by = |size: &dyn Fn(&Pair) -> (Option<f64>, f64)| {
            size(y).partial_cmp(&size(x)).unwrap_or(Ordering::Equal)
        };
        let exits = |pair: &Pair| pair.exits_added().abs();
        match self {
            Order::Time => by(&|pair| (pair.time_change().map(f64::abs), exits(pair))),
            Order::Exits => by(&|pair| (Some(exits(pair)), 0.0)),
            Order::Avg => by(&|pair| (pair.avg_added().map(f64::abs), exits(pair))),
            Order::Reason => Ordering::Equal,
        }
    }
}
