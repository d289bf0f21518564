// SPDX-License-Identifier: GPL-2.0

//! Percentiles, from a histogram whose buckets each reach to twice their beginning.

use crate::snapshot::Histogram;
use profile::histogram::bounds;

impl Histogram {
    /// The cycles that `percent` of the exits did not exceed; `None` without an exit.
    ///
    /// In the bucket where it lies, the exits are taken to be spread evenly, within
    /// the least and the most of all: so it is off by less than a factor of two
    /// either way, and exact if all exits took the same. (The last bucket, of 2^29
    /// cycles and more, is bounded by the most alone.)
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let exits: u128 = self.log2.iter().map(|&n| u128::from(n)).sum();
        if exits == 0 {
            return None;
        }
        // The rank of the exit that is meant, from 1.
        let wanted = (exits as f64 * percent / 100.0).clamp(1.0, exits as f64);
        let mut below = 0.0;
        for (bucket, &n) in self.log2.iter().enumerate().filter(|&(_, &n)| n > 0) {
            let n = n as f64;
            let (first, last) = bounds(bucket);
            // A difference's least and most may be of other buckets, if it is hostile.
            let low = first.max(self.min).min(last) as f64;
            let high = last.min(self.max).max(first) as f64;
            if wanted <= below + n {
                let part = (wanted - below) / n;
                let value = (low + (high - low) * part) as u64;
                return Some(value.max(self.min).min(self.max.max(self.min)));
            }
            below += n;
        }
        Some(self.max)
    }
}
