// SPDX-License-Identifier: GPL-2.0

//! Two snapshots side by side, reason by reason.

use crate::{
    continuity::Break,
    select::Selection,
    snapshot::{Origin, Snapshot},
    view::{Row, View, change},
};
use anyhow::{Result, bail, ensure};
use schemars::JsonSchema;
use serde::Serialize;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// The changes from one snapshot, A, to another, B.
#[derive(Debug)]
pub struct Comparison {
    /// Whether B continues A. Then B is what was added since A.
    pub continued: bool,
    /// Whether only the counters suggest that: older modules have no identities.
    pub presumed: bool,
    /// Why B does not continue A.
    pub separate: Option<Break>,
    /// How long A counted, if that is known.
    pub seconds_a: Option<f64>,
    /// How long B counted, if that is known.
    pub seconds_b: Option<f64>,
    /// The unit of averages and times.
    pub times: Times,
    /// The reasons, the greatest change first.
    pub rows: Vec<Pair>,
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

/// A reason in both snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Its number, if it has one.
    pub reason: Option<u32>,
    /// Its name.
    pub name: String,
    /// In A.
    pub a: Side,
    /// In B.
    pub b: Side,
}

/// A reason in one of the snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Side {
    /// The number of exits.
    pub exits: u128,
    /// The cycles of the timed exits.
    pub cycles: u128,
    /// Exits per second, if both snapshots say how long they counted.
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
    /// Compares two snapshots, in cycles if `cycles` asks for them or a frequency is unknown.
    ///
    /// # Errors
    ///
    /// If their reasons have nothing in common, or they are in the wrong order.
    pub fn new(a: &Snapshot, b: Snapshot, cycles: bool) -> Result<Comparison> {
        ensure!(
            a.isa == b.isa,
            "the recordings are of different instruction sets, which have no reasons in common"
        );
        let identified = a.identity.is_some() && b.identity.is_some();
        let (b, separate) = match b.since(a) {
            _ if *a == b => (b, Some(Break::Same)),
            Ok(added) => (added, None),
            Err(_) if is_swapped(a, &b) => {
                bail!("A was recorded after B, from the same counters: swap them")
            }
            Err(why) => (b, Some(why)),
        };
        let times = match !cycles && a.tsc_khz > 0 && b.tsc_khz > 0 {
            true => Times::Ns,
            false => Times::Cycles,
        };
        Ok(Comparison {
            continued: separate.is_none(),
            presumed: separate.is_none() && !identified && a.origin != Origin::Host,
            separate,
            seconds_a: a.seconds(),
            seconds_b: b.seconds(),
            times,
            rows: pairs(a, &b, times)?,
        })
    }

    /// Whether exits and times are per second.
    pub fn is_per_second(&self) -> bool {
        self.seconds_a.is_some() && self.seconds_b.is_some()
    }
}

/// Whether `a` certainly continues `b`: the identities or the host's clock say so.
fn is_swapped(a: &Snapshot, b: &Snapshot) -> bool {
    let identified = a.identity.is_some() && b.identity.is_some();
    let timed = a.origin == Origin::Host && a.time_ns > b.time_ns;
    (identified || timed) && a.since(b).is_ok()
}

/// The reasons of both, the greatest change first.
fn pairs(a: &Snapshot, b: &Snapshot, times: Times) -> Result<Vec<Pair>> {
    let seconds = a.seconds().zip(b.seconds());
    let sides_a = sides(a, seconds.map(|(a, _)| a), times)?;
    let sides_b = sides(b, seconds.map(|(_, b)| b), times)?;
    let none = Side {
        exits_per_second: seconds.map(|_| 0.0),
        time: Some(0.0),
        untimed: Some(0),
        ..Side::default()
    };
    let keys: BTreeSet<_> = sides_a.keys().chain(sides_b.keys()).collect();
    let pair = |key: &(Option<u32>, String)| Pair {
        reason: key.0,
        name: key.1.clone(),
        a: sides_a.get(key).copied().unwrap_or(none),
        b: sides_b.get(key).copied().unwrap_or(none),
    };
    let mut pairs: Vec<Pair> = keys.into_iter().map(pair).collect();
    pairs.sort_by(|x, y| {
        let changes = |pair: &Pair| (pair.time_change().map(f64::abs), pair.exits_added().abs());
        let order = changes(y).partial_cmp(&changes(x));
        order.unwrap_or(Ordering::Equal)
    });
    Ok(pairs)
}

/// The reasons in `snapshot`; per second, if it is known that it counted for `seconds`.
fn sides(
    snapshot: &Snapshot,
    seconds: Option<f64>,
    times: Times,
) -> Result<BTreeMap<(Option<u32>, String), Side>> {
    let view = View::new(snapshot, &Selection::everything())?;
    let scale = match times {
        Times::Ns => 1e6 / f64::from(snapshot.tsc_khz),
        Times::Cycles => 1.0,
    };
    let side = |row: &Row| Side {
        exits: row.exits,
        cycles: row.cycles,
        exits_per_second: seconds.map(|s| row.exits as f64 / s),
        exits_percent: row.exits_percent,
        time_percent: row.time_percent,
        avg: row.avg.map(|avg| avg * scale),
        time: (row.exits == 0 || row.untimed != Some(row.exits))
            .then(|| row.cycles as f64 * scale / seconds.unwrap_or(1.0)),
        untimed: row.untimed,
    };
    let key = |row: &Row| (row.reason, row.name.clone());
    Ok(view.rows.iter().map(|row| (key(row), side(row))).collect())
}

impl Side {
    /// Exits, per second if that is known.
    pub fn rate(&self) -> f64 {
        self.exits_per_second.unwrap_or(self.exits as f64)
    }
}

impl Pair {
    /// How much more time the exits take in B.
    pub fn time_change(&self) -> Option<f64> {
        Some(self.b.time? - self.a.time?)
    }

    /// The side of the first or the second snapshot.
    pub fn side(&self, index: usize) -> &Side {
        if index == 0 { &self.a } else { &self.b }
    }

    /// The change of the exits, in percent.
    pub fn exits_change(&self) -> Option<f64> {
        Some(change(self.a.rate(), self.b.rate()))
    }

    /// The change of the average time, in percent.
    pub fn avg_change(&self) -> Option<f64> {
        Some(change(self.a.avg?, self.b.avg?))
    }

    fn exits_added(&self) -> f64 {
        self.b.rate() - self.a.rate()
    }
}
