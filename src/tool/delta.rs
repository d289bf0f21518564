// SPDX-License-Identifier: GPL-2.0

//! What was counted between two snapshots.

use crate::{
    continuity::Break,
    reasons,
    snapshot::{
        Counter, Owner, Period, Reading, Snapshot,
        budget::Budget,
        detail::{self, Nested},
        histogram,
    },
};
use foldhash::{HashMap, HashSet};
use profile::histogram::Histogram;

/// Counters by owner and reason, and whether they still exist.
type Counters<'a> = HashMap<(&'a Owner, Option<u32>), (&'a Counter, bool)>;

impl Snapshot {
    /// What was counted since `earlier`, without the exits that reading in a guest
    /// causes. Their cycles are not known: they are taken to be as long as other CPUIDs.
    ///
    /// # Errors
    ///
    /// If this snapshot does not continue `earlier`.
    pub fn since(&self, earlier: &Snapshot) -> Result<Snapshot, Break> {
        self.check_same_count(earlier)?;
        let mut index = Counters::default();
        index.extend(
            earlier
                .counters
                .iter()
                .map(|counter| (key(counter), (counter, false))),
        );
        // Of each counter, what it was before.
        let mut before = Vec::with_capacity(self.counters.len());
        for counter in &self.counters {
            before.push(index.get_mut(&key(counter)).map(|(earlier, is_there)| {
                *is_there = true;
                *earlier
            }));
        }
        let is_missing = |(counter, is_there): &(&Counter, bool)| !is_there && counter.exits > 0;
        let missing = index
            .into_values()
            .filter(is_missing)
            .map(|(counter, _)| counter);
        let pairs = || self.counters.iter().zip(&before);
        let fell = pairs().filter_map(|(now, before)| {
            let before = (*before)?;
            now.added(before).is_none().then_some(before)
        });
        // vCPUs that have ended, even if others have their names now.
        let mut replaced: HashSet<&Owner> = HashSet::default();
        for counter in missing.chain(fell) {
            if !matches!(counter.owner, Owner::Vcpu(_)) {
                return Err(Break::Fell);
            }
            replaced.insert(&counter.owner);
        }
        let since = |(counter, before): (&Counter, &Option<&Counter>)| match before {
            Some(before) if !replaced.contains(&counter.owner) => counter.since(before),
            _ => Some(counter.clone()),
        };
        let mut counters = Vec::new();
        for pair in pairs() {
            let counter = since(pair).ok_or(Break::Fell)?;
            if counter.exits > 0 {
                counters.push(counter);
            }
        }

        // What they had counted before `earlier` is not part of the difference.
        let mut ended: HashMap<_, &mut Counter> = (counters.iter_mut())
            .filter(|counter| counter.owner == Owner::Ended)
            .map(|counter| (counter.reason, counter))
            .collect();
        let is_gone = |counter: &&Counter| replaced.contains(&counter.owner);
        for gone in earlier.counters.iter().filter(is_gone) {
            if let Some(counter) = ended.get_mut(&gone.reason) {
                counter.subtract(gone);
            }
        }

        let own = (earlier.reading.zip(self.reading)).map_or(0, |(a, b)| own_exits(a, b));
        let cpuid = Some(reasons::cpuid(self.isa));
        let is_cpuid =
            |counter: &&mut Counter| counter.owner == Owner::All && counter.reason == cpuid;
        if let Some(counter) = counters.iter_mut().find(is_cpuid) {
            counter.subtract_average(own);
        }

        counters.iter_mut().for_each(Counter::settle);
        counters.retain(|counter| counter.exits > 0);
        let mut added = Snapshot {
            since_ns: self.has_clock_of(earlier).then_some(earlier.time_ns),
            period: Some(Period::default()),
            missed: (self.missed.zip(earlier.missed))
                .map(|(now, before)| now.saturating_sub(before)),
            budgets: self.budgets_since(earlier),
            details: detail::since(&self.details, &earlier.details, &replaced),
            places: detail::since(&self.places, &earlier.places, &replaced),
            ..self.with(counters)
        };
        added.settle_details();
        Ok(added)
    }
}

impl Snapshot {
    /// What was added to the budgets since `earlier`, which this snapshot continues.
    fn budgets_since(&self, earlier: &Snapshot) -> Vec<Budget> {
        let index: HashMap<&Owner, &Budget> =
            earlier.budgets.iter().map(|b| (&b.owner, b)).collect();
        let now: HashSet<&Owner> = self.budgets.iter().map(|b| &b.owner).collect();
        let mut added = self.budgets.clone();
        for budget in &mut added {
            if let Some(before) = index.get(&budget.owner) {
                budget.subtract(before);
            }
            if budget.owner == Owner::Ended {
                // What vCPUs had before they ended is not part of the difference.
                let gone = |b: &&Budget| b.owner != Owner::Ended && !now.contains(&b.owner);
                for gone in earlier.budgets.iter().filter(gone) {
                    budget.subtract(gone);
                }
            }
        }
        added.retain(|budget| budget.elapsed > 0);
        added
    }
}

fn key(counter: &Counter) -> (&Owner, Option<u32>) {
    (&counter.owner, counter.reason)
}

/// The exits that reading caused from `earlier` to `later`, provided that nobody else
/// read meanwhile.
fn own_exits(earlier: Reading, later: Reading) -> u64 {
    let own = if earlier.reader == later.reader {
        later.before.checked_sub(earlier.before)
    } else {
        earlier.after.checked_add(later.before)
    };
    own.unwrap_or(0)
}

/// What was added to a counter.
struct Added {
    exits: u64,
    cycles: u64,
    untimed: Option<u64>,
    histogram: Option<Box<Histogram>>,
}

impl Counter {
    /// What was added since `earlier`; `None` if a number is lower now.
    fn added(&self, earlier: &Counter) -> Option<Added> {
        let histogram = match (&self.histogram, &earlier.histogram) {
            (Some(now), Some(earlier)) => Some(Box::new(histogram::since(now, earlier)?)),
            (now, None) => now.clone(),
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

    fn since(&self, earlier: &Counter) -> Option<Counter> {
        let Added {
            exits,
            cycles,
            untimed,
            histogram,
        } = self.added(earlier)?;
        Some(Counter {
            exits,
            cycles,
            untimed,
            histogram,
            nested: self.nested_since(earlier),
            ..self.clone()
        })
    }

    /// Subtracts what a vCPU that has ended had counted before. Without ids, others may
    /// have had its name, and that may be more than there is: then nothing is left.
    fn subtract(&mut self, gone: &Counter) {
        self.exits = self.exits.saturating_sub(gone.exits);
        self.cycles = self.cycles.saturating_sub(gone.cycles);
        let untimed = self.untimed.zip(gone.untimed);
        self.untimed = untimed.map(|(all, gone)| all.saturating_sub(gone));
        self.nested = self.nested_since(gone);
    }

    fn nested_since(&self, earlier: &Counter) -> Option<Box<Nested>> {
        let now = self.nested.as_deref()?;
        let earlier = earlier.nested.as_deref().copied();
        Some(Box::new(now.minus(earlier.unwrap_or_default())))
    }

    /// Subtracts `own` timed exits of average length. While recording was off, our own exits
    /// were not counted either, so there may be fewer.
    fn subtract_average(&mut self, own: u64) {
        let timed = self.timed();
        let own = own.min(timed);
        if own > 0 {
            let share = u128::from(self.cycles) * u128::from(timed - own);
            self.cycles = (share / u128::from(timed)) as u64; // No more than it was.
            self.exits -= own;
        }
    }
}
