// SPDX-License-Identifier: GPL-2.0

//! Counters that one CPU or task writes, and that any CPU reads.

use super::{
    counts::Tally,
    histogram::{Histogram, BUCKETS},
};
use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

/// Adds to a number that nobody else writes. Compiles to an addition without a lock prefix.
#[inline(always)]
pub fn increase(number: &AtomicU64, by: u64) {
    number.store(number.load(Relaxed).wrapping_add(by), Relaxed);
}

/// A slot's exits and cycles.
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
    /// The number of exits that were not timed.
    pub untimed: &'a [AtomicU64],
}

impl Cells<'_> {
    /// The tally of `slot`; zeros if there is no such slot.
    ///
    /// A writer adds to `untimed` last, and this reads it first. So it never exceeds
    /// `exits`.
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

    /// The tally of all slots.
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

    /// The sum over the slots for which `wanted` returns true.
    pub fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        (0..self.counters.len())
            .filter(|&slot| wanted(slot))
            .fold(Tally::default(), |sum, slot| sum + self.slot(slot))
    }

    /// Adds `more` to `slot`. Nobody else may write the slot meanwhile.
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

    /// Sets all counters to zero. Nobody else may write them meanwhile.
    pub fn clear(&self) {
        for counter in self.counters {
            counter.exits.store(0, Relaxed);
            counter.cycles.store(0, Relaxed);
        }
        self.untimed.iter().for_each(|n| n.store(0, Relaxed));
    }
}

/// The counters of a [`Histogram`]. Zeroed memory is not a valid one: see
/// [`clear`](HistogramCell::clear).
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs)] // As in `Histogram`.
pub struct HistogramCell {
    pub min: AtomicU64,
    pub max: AtomicU64,
    pub buckets: [AtomicU64; BUCKETS],
}

impl HistogramCell {
    /// Empties the histogram. Nobody may add to it meanwhile.
    pub fn clear(&self) {
        let empty = Histogram::default();
        self.min.store(empty.min, Relaxed);
        self.max.store(empty.max, Relaxed);
        self.buckets.iter().for_each(|n| n.store(0, Relaxed));
    }

    /// The histogram as it is now. A writer sets `min` and `max` before it adds to a
    /// bucket, and this reads the buckets first. So each exit is within `min` and `max`.
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
