// SPDX-License-Identifier: GPL-2.0

//! The queue by which queries get into the host's log.

use profile::{
    queue::Queue,
    throttle::{BURST, GUESTS},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

#[test]
fn a_full_queue_refuses_and_keeps_order() {
    let queue = Queue::new();
    for lap in 0..3u64 {
        assert_eq!(queue.pop(), None);
        let most = 100 * BURST;
        let n = (0..most)
            .find(|&n| !queue.push([lap, n, !n, 0]))
            .unwrap_or(most);
        assert!(n >= GUESTS as u64 * BURST && n < most);
        for i in 0..n {
            assert_eq!(queue.pop(), Some([lap, i, !i, 0]));
        }
    }
}

/// Nobody waits for ever, so that a queue that loses something fails, and does not hang.
#[test]
fn concurrent_writers_lose_and_repeat_nothing() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 20_000;
    let queue = Queue::new();
    let (begin, limit) = (Instant::now(), Duration::from_secs(60));
    let mut entries = Vec::new();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let queue = &queue;
            scope.spawn(move || {
                for n in 0..EACH {
                    while !queue.push([writer, n, writer ^ n, !n]) && begin.elapsed() < limit {
                        std::thread::yield_now();
                    }
                }
            });
        }
        while (entries.len() as u64) < WRITERS * EACH && begin.elapsed() < limit {
            match queue.pop() {
                Some(entry) => entries.push(entry),
                None => std::thread::yield_now(),
            }
        }
    });
    let mut next = BTreeMap::new();
    for [writer, n, check, complement] in entries {
        let want = next.entry(writer).or_insert(0);
        assert_eq!((n, check, complement), (*want, writer ^ n, !n));
        *want += 1;
    }
    assert_eq!(next, (0..WRITERS).map(|writer| (writer, EACH)).collect());
    assert_eq!(queue.pop(), None);
}
