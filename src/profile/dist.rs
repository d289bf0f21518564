// SPDX-License-Identifier: GPL-2.0

//! How the cycles of exits are distributed: least, most, and a histogram.

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};

/// The number of buckets of a histogram: with least and most, they fill 256 bytes.
pub const BUCKETS: usize = 30;

/// The bucket of an exit that took `cycles`: their binary logarithm, rounded down.
/// The first holds 0 cycles, too, and the last all that is more.
#[inline(always)]
pub fn bucket(cycles: u64) -> usize {
    let log2 = 63 - (cycles | 1).leading_zeros();
    (log2 as usize).min(BUCKETS - 1)
}

/// The least and the most cycles that `bucket` holds, which is below [`BUCKETS`].
pub fn bounds(bucket: usize) -> (u64, u64) {
    let power = |n: usize| u32::try_from(n).ok().and_then(|n| 1_u64.checked_shl(n));
    let first = match bucket {
        0 => 0,
        n => power(n).unwrap_or(u64::MAX),
    };
    let last = match bucket.wrapping_add(1) {
        n if n < BUCKETS => power(n).map_or(u64::MAX, |power| power.wrapping_sub(1)),
        _ => u64::MAX,
    };
    (first, last)
}

/// What cycles a set of exits took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The least, of any exit; `u64::MAX` if there is none.
    pub min: u64,
    /// The most, of any exit; 0 if there is none.
    pub max: u64,
    /// How many took as many as [`bounds`] says; wraps at 2^64.
    pub buckets: [u64; BUCKETS],
}

impl Default for Distribution {
    fn default() -> Distribution {
        Distribution {
            min: u64::MAX,
            max: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl Distribution {
    /// Adds the exits of another set.
    pub fn add(&mut self, other: &Distribution) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.wrapping_add(more);
        }
    }
}

/// A distribution that one CPU adds to, and any CPU reads. Zeroed memory is none:
/// see [`clear`](Spread::clear).
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs)] // As in `Distribution`.
pub struct Spread {
    pub min: AtomicU64,
    pub max: AtomicU64,
    pub buckets: [AtomicU64; BUCKETS],
}

impl Spread {
    /// Makes it one of no exits; nobody adds to it meanwhile.
    pub fn clear(&self) {
        let empty = Distribution::default();
        self.min.store(empty.min, Relaxed);
        self.max.store(empty.max, Relaxed);
        self.buckets.iter().for_each(|n| n.store(0, Relaxed));
    }

    /// What it has come to. Of an exit that is being added, least and most come before
    /// its bucket.
    pub fn load(&self) -> Distribution {
        let mut buckets = [0; BUCKETS];
        for (to, from) in buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Acquire);
        }
        Distribution {
            min: self.min.load(Relaxed),
            max: self.max.load(Relaxed),
            buckets,
        }
    }
}
