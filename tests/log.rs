// SPDX-License-Identifier: GPL-2.0

//! What bounds the host's log: budget and queue, for any input.

use kvm_exitprof::profile::log::{Budget, Queue, BURST, GUESTS, REFILL_NS};
use proptest::prelude::*;
use std::collections::BTreeMap;

proptest! {
    #[test]
    fn a_guest_gets_its_burst_and_its_refill_and_no_more(
        pauses in prop::collection::vec(0..3 * REFILL_NS, 1..2000),
    ) {
        let budget = Budget::new();
        let start = 1_000 * REFILL_NS;
        let (mut now, mut taken) = (start, 0);
        for pause in pauses {
            now += pause;
            taken += u64::from(budget.take(1, now));
            prop_assert!(taken <= BURST + (now - start) / REFILL_NS);
        }
    }

    #[test]
    fn guests_in_any_number_get_no_more_than_all_buckets(
        guests in prop::collection::vec(1u64..100, 1..8_000),
    ) {
        let budget = Budget::new();
        let taken = guests.iter().filter(|&&guest| budget.take(guest, 1)).count();
        prop_assert!(taken as u64 <= GUESTS as u64 * BURST);
    }
}

#[test]
fn a_flooding_guest_does_not_mute_another() {
    let budget = Budget::new();
    let flood = (0..100_000).filter(|_| budget.take(1, 1)).count();
    assert_eq!(flood as u64, BURST);
    for guest in 2..=GUESTS as u64 {
        let taken = (0..BURST + 1).filter(|_| budget.take(guest, 1)).count();
        assert_eq!(taken as u64, BURST, "guest {guest}");
    }
}

#[test]
fn a_drained_bucket_refills() {
    let budget = Budget::new();
    let taken = (0..2 * BURST).filter(|_| budget.take(1, 1)).count();
    assert_eq!(taken as u64, BURST);
    assert!(!budget.take(1, REFILL_NS / 2));
    assert!(budget.take(1, REFILL_NS + 1));
    assert!(!budget.take(1, REFILL_NS + 1));
}

#[test]
fn a_full_queue_refuses_and_keeps_order() {
    let queue = Queue::new();
    for lap in 0..3u64 {
        assert_eq!(queue.pop(), None);
        let mut n = 0;
        while queue.push([lap, n, !n, 0]) {
            n += 1;
        }
        assert!(n >= BURST);
        for i in 0..n {
            assert_eq!(queue.pop(), Some([lap, i, !i, 0]));
        }
    }
}

#[test]
fn concurrent_writers_lose_and_repeat_nothing() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 20_000;
    let queue = Queue::new();
    let mut next = BTreeMap::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let queue = &queue;
            scope.spawn(move || {
                for n in 0..EACH {
                    while !queue.push([writer, n, writer ^ n, !n]) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut left = WRITERS * EACH;
        while left > 0 {
            let Some([writer, n, check, complement]) = queue.pop() else {
                std::thread::yield_now();
                continue;
            };
            let want = next.entry(writer).or_insert(0);
            assert_eq!((n, check, complement), (*want, writer ^ n, !n));
            *want += 1;
            left -= 1;
        }
    });
    assert_eq!(queue.pop(), None);
}
