// SPDX-License-Identifier: GPL-2.0

//! What was counted between two snapshots.

use crate::snapshot::{Histogram, Owner, Reading, Row, Snapshot};
use anyhow::{Context, Result, ensure};
use kvm_exitprof::profile::histogram::{BUCKETS, bounds};
use std::collections::{HashMap, HashSet};

/// By owner and reason.
type Rows<'a> = HashMap<(&'a Owner, Option<u32>), &'a Row>;

impl Snapshot {
    /// What was counted since `earlier`, without the exits that the reading in a
    /// guest has caused. Their cycles are not known: CPUID's are taken to have
    /// been alike.
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
        let before = earlier.by_owner();
        let replaced = self.replaced(earlier);
        let mut rows: Vec<Row> = self
            .rows
            .iter()
            .map(|row| match before.get(&(&row.owner, row.reason)) {
                Some(before) if !replaced.contains(&row.owner) => row.since(before),
                _ => row.clone(),
            })
            .collect();

        // What those who have ended had counted before is not of this time.
        for gone in earlier.rows.iter().filter(|r| replaced.contains(&r.owner)) {
            let ended = |row: &&mut Row| row.owner == Owner::Ended && row.reason == gone.reason;
            if let Some(row) = rows.iter_mut().find(ended) {
                row.exits = row.exits.saturating_sub(gone.exits);
                row.cycles = row.cycles.saturating_sub(gone.cycles);
            }
        }

        let own = (earlier.reading.zip(self.reading)).map_or(0, |(a, b)| own_exits(a, b));
        let cpuid = Some(self.isa.cpuid());
        let is_cpuid = |row: &&mut Row| row.owner == Owner::All && row.reason == cpuid;
        if let Some(row) = rows.iter_mut().find(is_cpuid) {
            let others = row.exits.saturating_sub(own);
            let share = u128::from(row.cycles) * u128::from(others);
            row.cycles = (share / u128::from(row.exits).max(1)) as u64; // No more than it was.
            row.exits = others;
        }

        rows.retain(|row| row.exits > 0);
        Ok(Snapshot {
            since_ns: Some(earlier.time_ns),
            rows,
            ..self.clone()
        })
    }

    fn by_owner(&self) -> Rows<'_> {
        let rows = self.rows.iter();
        rows.map(|row| ((&row.owner, row.reason), row)).collect()
    }

    /// The vCPUs of `earlier` that are no more, even if others have their names now:
    /// they have counted less.
    fn replaced<'a>(&self, earlier: &'a Snapshot) -> HashSet<&'a Owner> {
        let now = self.by_owner();
        let gone = |row: &&Row| {
            matches!(row.owner, Owner::Vcpu(_))
                && now
                    .get(&(&row.owner, row.reason))
                    .is_none_or(|now| now.exits < row.exits)
        };
        let rows = earlier.rows.iter().filter(gone);
        rows.map(|row| &row.owner).collect()
    }
}

/// The exits that reading has caused from `earlier` to `later`, if nobody else has
/// read meanwhile.
fn own_exits(earlier: Reading, later: Reading) -> u64 {
    if earlier.reader == later.reader {
        later.before.saturating_sub(earlier.before)
    } else {
        earlier.after.saturating_add(later.before)
    }
}

impl Row {
    /// What was added since `earlier`.
    fn since(&self, earlier: &Row) -> Row {
        let now = self.histogram.as_ref();
        Row {
            exits: self.exits.wrapping_sub(earlier.exits),
            cycles: self.cycles.wrapping_sub(earlier.cycles),
            untimed: self.untimed.wrapping_sub(earlier.untimed),
            histogram: now.map(|now| match &earlier.histogram {
                Some(earlier) => now.since(earlier),
                None => now.clone(),
            }),
            ..self.clone()
        }
    }
}

impl Histogram {
    /// What was added since `earlier`.
    fn since(&self, earlier: &Histogram) -> Histogram {
        let mut log2 = self.log2;
        for (now, before) in log2.iter_mut().zip(earlier.log2) {
            *now = now.wrapping_sub(before);
        }
        let taken = || (0..BUCKETS).filter(|&bucket| log2[bucket] > 0);
        let lowest = taken().next().map_or(u64::MAX, |bucket| bounds(bucket).0);
        let highest = taken().next_back().map_or(0, |bucket| bounds(bucket).1);
        Histogram {
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
