// SPDX-License-Identifier: GPL-2.0

//! The exits of one level of nested guests.

use crate::snapshot::{Counter, Owner, Snapshot, detail::Nested};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::{collections::BTreeMap, sync::Arc};

/// A level of nested guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Exits of guests, L1
    L1,
    /// Exits of guests of guests, L2
    L2,
    /// Those of L2 that KVM gave to the hypervisor in L1
    Reflected,
}

impl Level {
    /// Whether all exits of guests of this level, 1 or 2, are of it.
    fn has_all_of(self, level: u8) -> bool {
        match self {
            Level::L1 => level == 1,
            Level::L2 => level == 2,
            Level::Reflected => false,
        }
    }

    /// How many exits and cycles of a counter are of this level.
    fn part(self, counter: &Counter, nested: Nested) -> (u64, u64) {
        match self {
            Level::L1 => (
                counter.exits.saturating_sub(nested.l2),
                counter.cycles.saturating_sub(nested.l2_cycles),
            ),
            Level::L2 => (nested.l2, nested.l2_cycles),
            Level::Reflected => (nested.reflected, nested.reflected_cycles),
        }
    }

    /// A counter of this level. It is not known which of a counter's exits were not timed, and
    /// what its histogram is of, unless all exits are of this level.
    fn of(self, counter: &Counter, nested: Nested) -> Counter {
        let (exits, cycles) = self.part(counter, nested);
        let is_all = exits == counter.exits;
        let own = match self {
            Level::L1 => Nested::default(),
            Level::L2 => nested,
            Level::Reflected => Nested {
                l2: nested.reflected,
                l2_cycles: nested.reflected_cycles,
                ..nested
            },
        };
        let mut part = Counter {
            exits,
            cycles,
            untimed: counter.untimed.filter(|&untimed| is_all || untimed == 0),
            histogram: counter.histogram.clone().filter(|_| is_all),
            ..counter.clone()
        };
        part.set_nested(own);
        part
    }
}

impl Snapshot {
    /// The same, but only the exits of this level. Those of all guests are sums of vCPUs and of
    /// vCPUs that have ended; the level of other exits is not known.
    ///
    /// # Errors
    ///
    /// If the source does not tell levels apart.
    pub fn at_level(&self, level: Level) -> Result<Snapshot> {
        let parts = self.counters.iter().filter(|c| c.owner != Owner::All);
        let parts = parts.filter_map(|c| Some(level.of(c, self.nested(c)?)));
        let mut counters: Vec<Counter> = parts.collect();
        // In a short time, it may be that no vCPU has exits.
        let tells = self.code.is_some() && !self.attached.is_empty();
        ensure!(
            tells || !counters.is_empty() || self.counters.is_empty(),
            "the exits of L1 and L2 are not told apart: only hosts whose module has counters of \
             vCPUs (per_vcpu=1) do that, since this version: leave out --level"
        );
        let mut sums: BTreeMap<(Option<u32>, &Arc<str>), Counter> = BTreeMap::new();
        for counter in &counters {
            let key = (counter.reason, &counter.name);
            match sums.get_mut(&key) {
                None => {
                    let owner = Owner::All;
                    let sum = Counter {
                        owner,
                        histogram: None,
                        ..counter.clone()
                    };
                    sums.insert(key, sum);
                }
                Some(sum) => {
                    sum.exits = sum.exits.saturating_add(counter.exits);
                    sum.cycles = sum.cycles.saturating_add(counter.cycles);
                    let untimed = sum.untimed.zip(counter.untimed);
                    sum.untimed = untimed.map(|(a, b)| a.saturating_add(b));
                }
            }
        }
        let sums: Vec<Counter> = sums.into_values().collect();
        counters.extend(sums);
        counters.retain(|counter| counter.exits > 0);
        let mut part = self.with(counters);
        let details = self.details.iter();
        part.details = details
            .filter(|e| level.has_all_of(e.key.level))
            .cloned()
            .collect();
        let places = self.places.iter();
        part.places = places
            .filter(|e| level.has_all_of(e.key.level))
            .cloned()
            .collect();
        part.settle_details();
        Ok(part)
    }
}
