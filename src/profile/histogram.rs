// SPDX-License-Identifier: GPL-2.0

//! The distribution of exits' cycles: minimum, maximum, and log2 buckets.

/// The number of buckets. With minimum and maximum, they fill 256 bytes.
pub const BUCKETS: usize = 30;

/// The bucket of an exit that took `cycles`: the binary logarithm, rounded down. The
/// first bucket also holds 0 cycles. The last bucket also holds all higher numbers.
#[inline(always)]
pub fn bucket(cycles: u64) -> usize {
    log2(cycles).min(BUCKETS - 1)
}

/// Whether `cycles` is greater than 0 and not in the last bucket.
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

/// The lowest and the highest number of cycles in `bucket`, which is less than
/// [`BUCKETS`].
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

/// The distribution of the cycles of a set of timed exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Histogram {
    /// The lowest number of cycles of an exit; `u64::MAX` if there is no exit.
    pub min: u64,
    /// The highest number of cycles of an exit; 0 if there is no exit.
    pub max: u64,
    /// The number of exits by bucket: see [`bounds`]. Wraps at 2^64.
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
