// SPDX-License-Identifier: GPL-2.0

//! Histograms of cycles, for any number of them.

use profile::{
    cells::HistogramCell,
    histogram::{bounds, bucket, is_ordinary, log2, Histogram, BUCKETS},
};
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[test]
fn buckets_follow_each_other_and_hold_all_numbers() {
    assert_eq!(bounds(0), (0, 1));
    for n in 1..BUCKETS {
        assert_eq!(bounds(n).0, bounds(n - 1).1 + 1);
        assert_eq!(bounds(n).0, 1 << n);
    }
    assert_eq!(bounds(BUCKETS - 1).1, u64::MAX);
    for n in 0..BUCKETS {
        let (first, last) = bounds(n);
        assert_eq!((bucket(first), bucket(last)), (n, n));
    }
}

#[test]
fn zeroed_memory_is_no_histogram_until_it_is_cleared() {
    let zeros = || AtomicU64::new(0);
    let cell = HistogramCell {
        min: zeros(),
        max: zeros(),
        buckets: [(); BUCKETS].map(|()| zeros()),
    };
    assert_ne!(cell.load(), Histogram::default());
    cell.buckets[3].store(7, Relaxed);
    cell.clear();
    assert_eq!(cell.load(), Histogram::default());
}

#[test]
fn a_cell_loads_what_was_stored() {
    let mut n = 0;
    let mut next = || {
        n += 1;
        n
    };
    let want = Histogram {
        min: next(),
        max: next(),
        buckets: [(); BUCKETS].map(|()| next()),
    };
    let cell = HistogramCell {
        min: want.min.into(),
        max: want.max.into(),
        buckets: want.buckets.map(AtomicU64::new),
    };
    assert_eq!(cell.load(), want);
}

/// The histogram of exits that took so many cycles.
fn of(exits: &[u64]) -> Histogram {
    let mut all = Histogram::default();
    for &cycles in exits {
        let mut one = Histogram {
            min: cycles,
            max: cycles,
            ..Histogram::default()
        };
        one.buckets[bucket(cycles)] = 1;
        all.add(&one);
    }
    all
}

proptest! {
    #[test]
    fn an_ordinary_exit_is_in_the_bucket_of_its_logarithm(
        cycles in prop_oneof![any::<u64>(), 0..4u64, (1 << 29) - 2..(1u64 << 29) + 2],
    ) {
        if is_ordinary(cycles) {
            prop_assert_eq!(bucket(cycles), log2(cycles));
        } else {
            prop_assert!(cycles == 0 || bucket(cycles) == BUCKETS - 1);
        }
    }

    #[test]
    fn cycles_are_within_the_bounds_of_their_bucket(cycles: u64, shift in 0..64) {
        let cycles = cycles >> shift;
        let (first, last) = bounds(bucket(cycles));
        prop_assert!((first..=last).contains(&cycles));
    }

    #[test]
    fn sums_of_cpus_are_those_of_all_exits(
        one in prop::collection::vec(any::<u64>(), 0..50),
        two in prop::collection::vec(any::<u64>(), 0..50),
    ) {
        let mut sum = of(&one);
        sum.add(&of(&two));
        let all = [one, two].concat();
        prop_assert_eq!(sum.buckets.iter().sum::<u64>(), all.len() as u64);
        prop_assert_eq!(sum.min, all.iter().copied().min().unwrap_or(u64::MAX));
        prop_assert_eq!(sum.max, all.iter().copied().max().unwrap_or(0));
        prop_assert_eq!(sum, of(&all));
    }
}
