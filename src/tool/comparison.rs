// SPDX-License-Identifier: GPL-2.0

//! Two snapshots side by side, reason by reason.

use crate::{
    continuity::Break,
    select::Selection,
    snapshot::{Origin, Snapshot},
    view::{Row, View},
};
use anyhow::{Result, bail, ensure};
use serde::Serialize;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

/// What has changed from one snapshot, A, to another, B.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// Whether B goes on counting from A: then it is what was added.
    pub continued: bool,
    /// Whether only the counters say so: an older module tells a guest no identity.
    pub presumed: bool,
    /// Why it does not.
    pub separate: Option<Break>,
    /// How long A counted, if that is known.
    pub seconds_a: Option<f64>,
    /// How long B counted, if that is known.
    pub seconds_b: Option<f64>,
    /// What averages and times are in.
    pub times: Times,
    /// The reasons, those that changed most first.
    pub rows: Vec<Pair>,
}

/// What averages and times are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    /// Nanoseconds.
    Ns,
    /// Cycles of each snapshot's own host.
    Cycles,
}

/// A reason in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Its number, if it has one.
    pub reason: Option<u32>,
    /// What it is called.
    pub name: String,
    /// What A says.
    pub a: Side,
    /// What B says.
    pub b: Side,
}

/// What one of the snapshots says of a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// How many exits.
    pub samples: u128,
    /// The cycles of those that were timed.
    pub cycles: u128,
    /// Exits per second, if both snapshots say since when they count.
    pub samples_per_second: Option<f64>,
    /// Their share of all exits.
    pub samples_percent: Option<f64>,
    /// Their share of all cycles.
    pub time_percent: Option<f64>,
    /// The average time of an exit.
    pub avg: Option<f64>,
    /// The time of all exits, per second if the exits are; not known if none was timed.
    pub time: Option<f64>,
    /// How many of the exits were not timed, if that is known.
    pub untimed: Option<u128>,
}

impl Comparison {
    /// Compares two snapshots, in cycles if `cycles` says so or a frequency is not known.
    ///
    /// # Errors
    ///
    /// If they have nothing in common, or are in the wrong order.
    pub fn new(a: &Snapshot, b: Snapshot, cycles: bool) -> Result<Comparison> {
        ensure!(
            a.isa == b.isa,
            "the snapshots are of different instruction sets, whose reasons have nothing in common"
        );
        let identified = a.identity.is_some() && b.identity.is_some();
        let (b, separate) = match b.since(a) {
            Ok(added) => (added, None),
            Err(_) if is_swapped(a, &b) => {
                bail!("A was recorded after B, and both are of the same counters: swap them")
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

    /// Whether figures are per second.
    pub fn is_per_second(&self) -> bool {
        self.seconds_a.is_some() && self.seconds_b.is_some()
    }
}

/// Whether `a` goes on from `b`, for sure: both tell the same identity, or the host's
/// clock says so.
fn is_swapped(a: &Snapshot, b: &Snapshot) -> bool {
    let identified = a.identity.is_some() && b.identity.is_some();
    let timed = a.origin == Origin::Host && a.time_ns > b.time_ns;
    (identified || timed) && a.since(b).is_ok()
}

/// The reasons of either, those that changed most first.
fn pairs(a: &Snapshot, b: &Snapshot, times: Times) -> Result<Vec<Pair>> {
    let seconds = a.seconds().zip(b.seconds());
    let sides_a = sides(a, seconds.map(|(a, _)| a), times)?;
    let sides_b = sides(b, seconds.map(|(_, b)| b), times)?;
    let none = Side {
        samples_per_second: seconds.map(|_| 0.0),
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
        let change = |pair: &Pair| (pair.time_change().map(f64::abs), pair.exits_change().abs());
        let order = change(y).partial_cmp(&change(x));
        order.unwrap_or(Ordering::Equal)
    });
    Ok(pairs)
}

/// What `snapshot` says of each reason; per second, if it counted for `seconds`.
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
        samples: row.samples,
        cycles: row.cycles,
        samples_per_second: seconds.map(|s| row.samples as f64 / s),
        samples_percent: row.samples_percent,
        time_percent: row.time_percent,
        avg: row.avg.map(|avg| avg * scale),
        time: (row.samples == 0 || row.untimed != Some(row.samples))
            .then(|| row.cycles as f64 * scale / seconds.unwrap_or(1.0)),
        untimed: row.untimed,
    };
    let key = |row: &Row| (row.reason, row.name.clone());
    Ok(view.rows.iter().map(|row| (key(row), side(row))).collect())
}

impl Side {
    /// Exits, per second if that is known.
    pub fn exits(&self) -> f64 {
        self.samples_per_second.unwrap_or(self.samples as f64)
    }
}

impl Pair {
    /// How much more time the exits take.
    pub fn time_change(&self) -> Option<f64> {
        Some(self.b.time? - self.a.time?)
    }

    fn exits_change(&self) -> f64 {
        self.b.exits() - self.a.exits()
    }
}
