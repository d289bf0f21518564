// SPDX-License-Identifier: GPL-2.0

//! What one CPU or task adds to, and any CPU reads.

use super::{
    counts::Tally,
    histogram::{Histogram, BUCKETS},
};
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

/// Exits, and their cycles.
#[derive(Debug, Default)]
#[repr(C, align(16))]
#[allow(missing_docs)] // As in `Tally`.
pub struct Counter {
    pub exits: AtomicU64,
    pub cycles: AtomicU64,
}

/// A profile's counters, by slot.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    /// Exits and cycles.
    pub counters: &'a [Counter],
    /// How many of the exits were not timed.
    pub untimed: &'a [AtomicU64],
}

impl Cells<'_> {
    /// What `slot` has come to; nothing if there is none. Of an exit that is being added,
    /// that it was not timed comes last: there are never more of these than exits.
    #[inline]
    pub fn slot(&self, slot: usize) -> Tally {
        let untimed = self.untimed.get(slot).map_or(0, |n| n.load(Acquire));
        let (exits, cycles) = self.counters.get(slot).map_or((0, 0), |counter| {
            (counter.exits.load(Relaxed), counter.cycles.load(Relaxed))
        });
        Tally {
            exits,
            cycles,
            untimed,
        }
    }

    /// What all slots have come to.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        for untimed in self.untimed {
            total.untimed = total.untimed.wrapping_add(untimed.load(Acquire));
        }
        for counter in self.counters {
            total.exits = total.exits.wrapping_add(counter.exits.load(Relaxed));
            total.cycles = total.cycles.wrapping_add(counter.cycles.load(Relaxed));
        }
        total
    }

    /// What the slots that `wanted` chooses have come to.
    pub fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        (0..self.counters.len())
            .filter(|&slot| wanted(slot))
            .fold(Tally::default(), |sum, slot| sum + self.slot(slot))
    }

    /// Adds to `slot`, which nobody else writes at present.
    pub fn add(&self, slot: usize, more: Tally) {
        let sum = self.slot(slot) + more;
        if let Some(counter) = self.counters.get(slot) {
            counter.exits.store(sum.exits, Relaxed);
            counter.cycles.store(sum.cycles, Relaxed);
        }
        if let Some(untimed) = self.untimed.get(slot) {
            untimed.store(sum.untimed, Relaxed);
        }
    }

    /// Makes all of them zero; nobody else writes them at present.
    pub fn clear(&self) {
        for counter in self.counters {
            counter.exits.store(0, Relaxed);
            counter.cycles.store(0, Relaxed);
        }
        self.untimed.iter().for_each(|n| n.store(0, Relaxed));
    }
}

/// A [`Histogram`]. Zeroed memory is none: see [`clear`](HistogramCell::clear).
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs)] // As in `Histogram`.
pub struct HistogramCell {
    pub min: AtomicU64,
    pub max: AtomicU64,
    pub buckets: [AtomicU64; BUCKETS],
}

impl HistogramCell {
    /// Makes it one of no exits; nobody adds to it meanwhile.
    pub fn clear(&self) {
        let empty = Histogram::default();
        self.min.store(empty.min, Relaxed);
        self.max.store(empty.max, Relaxed);
        self.buckets.iter().for_each(|n| n.store(0, Relaxed));
    }

    /// What it has come to. Of an exit that is being added, min and max come before
    /// its bucket.
    pub fn load(&self) -> Histogram {
        let mut buckets = [0; BUCKETS];
        for (to, from) in buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Acquire);
        }
        Histogram {
            min: self.min.load(Relaxed),
            max: self.max.load(Relaxed),
            buckets,
        }
    }
}
