// SPDX-License-Identifier: GPL-2.0

//! What was counted between two snapshots.

use crate::{
    continuity::Break,
    histogram, reasons,
    snapshot::{Owner, Reading, Row, Snapshot},
};
use profile::histogram::Histogram;
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
    /// If it does not go on from `earlier`.
    pub fn since(&self, earlier: &Snapshot) -> Result<Snapshot, Break> {
        self.check_same_count(earlier)?;
        let lower = self.lower(earlier);
        let is_vcpu = |row: &&Row| matches!(row.owner, Owner::Vcpu(_));
        if !lower.iter().all(is_vcpu) {
            return Err(Break::Fell);
        }
        // vCPUs that are no more, even if others have their names now.
        let replaced: HashSet<&Owner> = lower.iter().map(|row| &row.owner).collect();
        let before = earlier.by_owner();
        let since = |row: &Row| match before.get(&(&row.owner, row.reason)) {
            Some(before) if !replaced.contains(&row.owner) => row.since(before),
            _ => Some(row.clone()),
        };
        let rows: Option<Vec<Row>> = self.rows.iter().map(since).collect();
        let mut rows = rows.ok_or(Break::Fell)?;

        // What those who have ended had counted before is not of this time.
        let mut ended: HashMap<_, &mut Row> = (rows.iter_mut())
            .filter(|row| row.owner == Owner::Ended)
            .map(|row| (row.reason, row))
            .collect();
        for gone in earlier.rows.iter().filter(|r| replaced.contains(&r.owner)) {
            if let Some(row) = ended.get_mut(&gone.reason) {
                row.take_away(gone);
            }
        }

        let own = (earlier.reading.zip(self.reading)).map_or(0, |(a, b)| own_exits(a, b));
        let cpuid = Some(reasons::cpuid(self.isa));
        let is_cpuid = |row: &&mut Row| row.owner == Owner::All && row.reason == cpuid;
        if let Some(row) = rows.iter_mut().find(is_cpuid) {
            row.take_average(own);
        }

        rows.iter_mut().for_each(Row::settle);
        rows.retain(|row| row.exits > 0);
        Ok(Snapshot {
            since_ns: self.has_clock_of(earlier).then_some(earlier.time_ns),
            rows,
            ..self.clone()
        })
    }

    fn by_owner(&self) -> Rows<'_> {
        let rows = self.rows.iter();
        rows.map(|row| ((&row.owner, row.reason), row)).collect()
    }

    /// The rows of `earlier` that this one has lower.
    fn lower<'a>(&self, earlier: &'a Snapshot) -> Vec<&'a Row> {
        let now = self.by_owner();
        let is_lower = |row: &&Row| match now.get(&(&row.owner, row.reason)) {
            Some(now) => now.added(row).is_none(),
            None => row.exits > 0,
        };
        earlier.rows.iter().filter(is_lower).collect()
    }
}

/// The exits that reading has caused from `earlier` to `later`, if nobody else has
/// read meanwhile.
fn own_exits(earlier: Reading, later: Reading) -> u64 {
    let own = if earlier.reader == later.reader {
        later.before.checked_sub(earlier.before)
    } else {
        earlier.after.checked_add(later.before)
    };
    own.unwrap_or(0)
}

/// What was added to a row.
struct Added {
    exits: u64,
    cycles: u64,
    untimed: Option<u64>,
    histogram: Option<Histogram>,
}

impl Row {
    /// What was added since `earlier`; `None` if a number is lower.
    fn added(&self, earlier: &Row) -> Option<Added> {
        let histogram = match (&self.histogram, &earlier.histogram) {
            (Some(now), Some(earlier)) => Some(histogram::since(now, earlier)?),
            (now, None) => *now,
            (None, Some(_)) => None,
        };
        Some(Added {
            exits: self.exits.checked_sub(earlier.exits)?,
            cycles: self.cycles.checked_sub(earlier.cycles)?,
            untimed: match self.untimed.zip(earlier.untimed) {
                Some((now, earlier)) => Some(now.checked_sub(earlier)?),
                None => None,
            },
            histogram,
        })
    }

    fn since(&self, earlier: &Row) -> Option<Row> {
        let Added {
            exits,
            cycles,
            untimed,
            histogram,
        } = self.added(earlier)?;
        Some(Row {
            exits,
            cycles,
            untimed,
            histogram,
            ..self.clone()
        })
    }

    /// Takes away what one who has ended had counted before. Where vCPUs have no ids,
    /// that may be more than there is, as others may have had the same name: then nothing
    /// is left.
    fn take_away(&mut self, gone: &Row) {
        self.exits = self.exits.saturating_sub(gone.exits);
        self.cycles = self.cycles.saturating_sub(gone.cycles);
        let untimed = self.untimed.zip(gone.untimed);
        self.untimed = untimed.map(|(all, gone)| all.saturating_sub(gone));
    }

    /// Takes away some of the timed exits, and as many average cycles. While exits were
    /// not recorded, ours were not either: then there may be fewer.
    fn take_average(&mut self, own: u64) {
        let timed = self.timed();
        let own = own.min(timed);
        if own > 0 {
            let share = u128::from(self.cycles) * u128::from(timed - own);
            self.cycles = (share / u128::from(timed)) as u64; // No more than it was.
            self.exits -= own;
        }
    }
}
