// SPDX-License-Identifier: GPL-2.0

//! How the cycles of exits are distributed: minimum, maximum, and log2 buckets.

/// The number of buckets: with minimum and maximum, they fill 256 bytes.
pub const BUCKETS: usize = 30;

/// The bucket of an exit that took `cycles`: their binary logarithm, rounded down.
/// The first holds 0 cycles, too, and the last all that is more.
#[inline(always)]
pub fn bucket(cycles: u64) -> usize {
    log2(cycles).min(BUCKETS - 1)
}

/// Whether `cycles` are more than 0, and in a bucket before the last.
#[inline(always)]
pub fn is_ordinary(cycles: u64) -> bool {
    cycles.wrapping_sub(1) < (1 << (BUCKETS - 1)) - 1
}

/// The binary logarithm of `cycles`, rounded down; 0 for 0.
#[inline(always)]
pub fn log2(cycles: u64) -> usize {
    match core::num::NonZeroU64::new(cycles) {
        Some(cycles) => (63 - cycles.leading_zeros()) as usize,
        None => 0,
    }
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

/// How many cycles each of a set of exits took, as far as they were timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Histogram {
    /// The fewest, of any exit; `u64::MAX` if there is none.
    pub min: u64,
    /// The most, of any exit; 0 if there is none.
    pub max: u64,
    /// How many took as many as [`bounds`] says; wraps at 2^64.
    #[cfg_attr(feature = "serde", serde(rename = "log2"))]
    pub buckets: [u64; BUCKETS],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            min: u64::MAX,
            max: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl Histogram {
    /// Adds the exits of another set.
    pub fn add(&mut self, other: &Histogram) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        for (sum, more) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.wrapping_add(more);
        }
    }
}
