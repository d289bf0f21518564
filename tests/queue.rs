// SPDX-License-Identifier: GPL-2.0

//! The queue by which queries get into the host's log.

use kvm_exitprof::profile::{
    queue::Queue,
    throttle::{BURST, GUESTS},
};
use std::collections::BTreeMap;

#[test]
fn a_full_queue_refuses_and_keeps_order() {
    let queue = Queue::new();
    for lap in 0..3u64 {
        assert_eq!(queue.pop(), None);
        let mut n = 0;
        while queue.push([lap, n, !n, 0]) {
            n += 1;
        }
        assert!(n >= GUESTS as u64 * BURST);
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
