// SPDX-License-Identifier: GPL-2.0

//! What was counted in each of successive intervals.

use crate::{
    select::{Key, Selection},
    snapshot::Snapshot,
    view::{Row, View},
};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// An interval shorter than this share of the wanted length is joined to the next one.
const SHORT: f64 = 0.8;

/// What was counted of a row in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// The exits.
    pub exits: u128,
    /// Those that were timed.
    pub timed: u128,
    /// Their cycles.
    pub cycles: u128,
    /// The cycles that 99% of them did not exceed, if that is known.
    pub p99: Option<u64>,
}

impl Counted {
    fn new(row: &Row) -> Counted {
        Counted {
            exits: row.exits,
            timed: row.exits.saturating_sub(row.untimed.unwrap_or(0)),
            cycles: row.cycles,
            p99: row.p99,
        }
    }
}

/// An interval.
#[derive(Debug)]
struct Interval {
    seconds: f64,
    rows: BTreeMap<Key, Counted>,
    total: Counted,
}

/// Successive intervals.
#[derive(Debug)]
pub struct Course {
    selection: Selection,
    /// The wanted length of an interval, in seconds.
    length: f64,
    /// Where the next interval begins.
    before: Option<Snapshot>,
    intervals: Vec<Interval>,
    /// How many are left out, because the counters were replaced, or recording was off.
    pub left_out: usize,
}

impl Course {
    /// No intervals yet, and later those of what `selection` selects, of about `length` seconds.
    pub fn new(selection: Selection, length: f64) -> Course {
        Course {
            selection,
            length,
            before: None,
            intervals: Vec::new(),
            left_out: 0,
        }
    }

    /// Goes on to the next snapshot.
    ///
    /// # Errors
    ///
    /// As of [`Course::add`].
    pub fn go_on(&mut self, now: &Snapshot) -> Result<()> {
        let is_on = |snapshot: &Snapshot| snapshot.recording != Some(false);
        if let Some(before) = &self.before {
            match now.since(before) {
                Ok(added) if is_on(before) && is_on(now) => {
                    if added.seconds().unwrap_or(0.0) < SHORT * self.length {
                        return Ok(());
                    }
                    self.add(&added)?;
                }
                Ok(_) | Err(_) => self.left_out += 1,
            }
        }
        self.before = Some(now.clone());
        Ok(())
    }

    /// Adds an interval.
    ///
    /// # Errors
    ///
    /// If it is not known how long it was; as of [`View::of_part`].
    pub fn add(&mut self, added: &Snapshot) -> Result<()> {
        let view = View::of_part(added, &self.selection)?;
        let sum = view.selected;
        self.intervals.push(Interval {
            seconds: added
                .seconds()
                .context("it is not known how long it counted")?,
            total: Counted {
                exits: sum.exits,
                timed: sum.exits.saturating_sub(sum.untimed.unwrap_or(0)),
                cycles: sum.cycles,
                p99: None,
            },
            rows: (view.rows.iter())
                .map(|row| (row.key(), Counted::new(row)))
                .collect(),
        });
        Ok(())
    }

    /// How many intervals there are.
    pub fn len(&self) -> usize {
        self.intervals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// How many seconds all intervals took.
    pub fn seconds(&self) -> f64 {
        self.intervals.iter().map(|interval| interval.seconds).sum()
    }

    /// The rows that occur in any interval.
    pub fn keys(&self) -> BTreeSet<&Key> {
        let intervals = self.intervals.iter();
        intervals
            .flat_map(|interval| interval.rows.keys())
            .collect()
    }

    /// What each interval counted of a row, or in all, and how many seconds it took.
    pub fn of(&self, key: Option<&Key>) -> Vec<(Counted, f64)> {
        let of = |interval: &Interval| match key {
            Some(key) => interval.rows.get(key).copied().unwrap_or_default(),
            None => interval.total,
        };
        let intervals = self.intervals.iter();
        intervals
            .map(|interval| (of(interval), interval.seconds))
            .collect()
    }
}
