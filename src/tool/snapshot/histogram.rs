// SPDX-License-Identifier: GPL-2.0

//! Percentiles of a histogram, and the difference of two.

use profile::histogram::{BUCKETS, Histogram, bounds};

/// The cycles that `percent` of the exits did not exceed; `None` if there are no exits.
///
/// It interpolates within a bucket, bounded by the minimum and maximum of all exits. So it
/// is off by less than a factor of two, and exact if all exits took equally long. (Only the
/// maximum bounds the last bucket, of 2^29 cycles and more.)
pub fn percentile(histogram: &Histogram, percent: f64) -> Option<u64> {
    let exits: u128 = histogram.buckets.iter().map(|&n| u128::from(n)).sum();
    if exits == 0 {
        return None;
    }
    // The rank of the exit, from 1.
    let wanted = (exits as f64 * percent / 100.0).clamp(1.0, exits as f64);
    let mut below = 0.0;
    for (bucket, &n) in histogram
        .buckets
        .iter()
        .enumerate()
        .filter(|&(_, &n)| n > 0)
    {
        let n = n as f64;
        let (first, last) = bounds(bucket);
        // In a hostile file, the minimum and maximum may lie in other buckets.
        let low = first.max(histogram.min).min(last) as f64;
        let high = last.min(histogram.max).max(first) as f64;
        if wanted <= below + n {
            let part = (wanted - below) / n;
            let value = (low + (high - low) * part) as u64;
            return Some(
                value
                    .max(histogram.min)
                    .min(histogram.max.max(histogram.min)),
            );
        }
        below += n;
    }
    Some(histogram.max)
}

/// What was added to `earlier`; `None` if a number is lower now.
pub fn since(now: &Histogram, earlier: &Histogram) -> Option<Histogram> {
    let mut buckets = now.buckets;
    for (now, before) in buckets.iter_mut().zip(earlier.buckets) {
        *now = now.checked_sub(before)?;
    }
    let taken = || (0..BUCKETS).filter(|&bucket| buckets[bucket] > 0);
    let lowest = taken().next().map_or(u64::MAX, |bucket| bounds(bucket).0);
    let highest = taken().next_back().map_or(0, |bucket| bounds(bucket).1);
    Some(Histogram {
        min: if now.min < earlier.min {
            now.min
        } else {
            lowest.max(now.min)
        },
        max: highest.min(now.max),
        buckets,
    })
}
