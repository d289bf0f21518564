// SPDX-License-Identifier: GPL-2.0

//! What bounds the host's log and what queries read, for any input.

use profile::throttle::{LogBudget, QueryBudget, BURST, GUESTS, LINES_PER_MS, REFILL_NS};
use proptest::prelude::*;

const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
const MS: u64 = 1_000_000;
const NS_PER_LINE: u64 = MS / LINES_PER_MS;

/// The most of `times`, which are in order, that are within `window` of each other.
fn most_within(times: &[u64], window: u64) -> usize {
    let mut first = 0;
    let counts = times.iter().enumerate().map(|(last, time)| {
        while time - times[first] > window {
            first += 1;
        }
        last + 1 - first
    });
    counts.max().unwrap_or(0)
}

/// The pause before a query, which is none for all but one in `2^rare`, and a number to
/// choose the guest by: of any `number`, which is made faster than both.
fn query(number: u64, rare: u32) -> (u64, u64) {
    let (number, guest) = (number / 256, number % 256);
    let (number, among) = (number >> rare, number % (1 << rare));
    let pause = match number % 2 {
        _ if among > 0 => 0,
        0 => number / 2 % 600 * REFILL_NS,
        _ => number / 2 % (3 * REFILL_NS),
    };
    (pause, guest)
}

/// When times begin: as the host does, or after some years.
fn any_start() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..2 * DAY_NS, Just(4000 * DAY_NS)]
}

proptest! {
    #[test]
    fn a_guest_gets_its_burst_and_its_refill_and_no_more(
        start in any_start(),
        pauses in prop::collection::vec(0..3 * REFILL_NS, 1..2000),
    ) {
        let budget = LogBudget::new();
        let (mut now, mut taken) = (start, 0);
        for pause in pauses {
            now += pause;
            taken += u64::from(budget.take(1, now));
            prop_assert!(taken <= BURST + (now - start) / REFILL_NS);
        }
    }

    #[test]
    fn a_guest_that_asks_for_all_gets_all(
        start in any_start(),
        pauses in prop::collection::vec(0..3 * REFILL_NS, 1..100),
    ) {
        let budget = LogBudget::new();
        let (mut now, mut taken) = (start, 0);
        for pause in pauses {
            taken += (0..=BURST).filter(|_| budget.take(1, now)).count() as u64;
            prop_assert_eq!(taken, BURST + (now - start) / REFILL_NS);
            now += pause.min(BURST * REFILL_NS);
        }
    }

    #[test]
    fn guests_in_any_number_get_no_more_than_all_buckets(
        guests in prop::collection::vec(1u64..100, 1..8_000),
    ) {
        let budget = LogBudget::new();
        let taken = guests.iter().filter(|&&guest| budget.take(guest, 1)).count();
        prop_assert!(taken as u64 <= GUESTS as u64 * BURST);
    }

    #[test]
    fn a_day_has_no_more_than_two_bursts_of_each_share(
        start in any_start(),
        guests in 1..=3 * GUESTS as u64,
        rare in 0u32..12,
        queries in prop::collection::vec(any::<u64>(), 1..4_000),
    ) {
        let budget = LogBudget::new();
        let (mut now, mut taken) = (start, Vec::new());
        for (pause, guest) in queries.into_iter().map(|number| query(number, rare)) {
            now += pause;
            if budget.take(1 + guest % guests, now) {
                taken.push(now);
            }
        }
        prop_assert!(most_within(&taken, DAY_NS) as u64 <= 2 * GUESTS as u64 * BURST);
    }

    /// As long as there is a share for each.
    #[test]
    fn what_others_do_is_nothing_to_a_guest(
        start in any_start(),
        rare in 0u32..12,
        queries in prop::collection::vec(any::<u64>(), 1..2_000),
    ) {
        let together = LogBudget::new();
        let alone = [(); GUESTS].map(|()| LogBudget::new());
        let mut now = start;
        for (pause, guest) in queries.into_iter().map(|number| query(number, rare)) {
            now += pause;
            let guest = guest % GUESTS as u64;
            let want = alone[guest as usize].take(1, now);
            prop_assert_eq!(together.take(1 + guest, now), want);
        }
    }
}

/// The bound of a day is reached, on the first one as well as later, and by guests
/// that come and go.
#[test]
fn a_day_can_have_two_bursts_of_each_share() {
    for start in [0, 1, 4000 * DAY_NS] {
        let budget = LogBudget::new();
        let mut taken = Vec::new();
        let mut guest = 0;
        for refill in 0..=BURST {
            let now = start + refill * REFILL_NS;
            let lines = if refill == 0 { BURST } else { 1 };
            for _ in 0..GUESTS as u64 * lines {
                guest += 1;
                assert!(budget.take(guest, now), "{start} {refill} {guest}");
                taken.push(now);
            }
            assert!(!budget.take(guest, now));
        }
        assert_eq!(
            most_within(&taken, DAY_NS) as u64,
            2 * GUESTS as u64 * BURST
        );
    }
}

#[test]
fn a_flooding_guest_does_not_mute_another() {
    let budget = LogBudget::new();
    let flood = (0..100_000).filter(|_| budget.take(1, 1)).count();
    assert_eq!(flood as u64, BURST);
    for guest in 2..=GUESTS as u64 {
        let taken = (0..BURST + 1).filter(|_| budget.take(guest, 1)).count();
        assert_eq!(taken as u64, BURST, "guest {guest}");
    }
}

#[test]
fn a_further_guest_gets_what_is_left_of_the_fullest_share() {
    let budget = LogBudget::new();
    for guest in 1..=GUESTS as u64 {
        let lines = if guest == 2 { 3 } else { 4 };
        assert!((0..lines).all(|_| budget.take(guest, 1)));
    }
    let taken = (0..BURST).filter(|_| budget.take(99, 1)).count();
    assert_eq!(taken as u64, BURST - 3);
    let mut others = (1..=GUESTS as u64).filter(|&guest| guest != 2);
    assert!(others.all(|guest| budget.take(guest, 1)));
}

#[test]
fn a_drained_bucket_refills() {
    let budget = LogBudget::new();
    let taken = (0..2 * BURST).filter(|_| budget.take(1, 1)).count();
    assert_eq!(taken as u64, BURST);
    assert!(!budget.take(1, REFILL_NS));
    assert!(budget.take(1, REFILL_NS + 1));
    assert!(!budget.take(1, REFILL_NS + 1));
}

#[test]
fn a_day_brings_a_burst() {
    assert_eq!(BURST * REFILL_NS, DAY_NS);
    let budget = LogBudget::new();
    for day in 0..3 {
        let now = 1 + day * DAY_NS;
        let taken = (0..2 * BURST).filter(|_| budget.take(1, now)).count();
        assert_eq!(taken as u64, BURST, "day {day}");
    }
}

/// Lines that are read, and when.
type Read = (u64, u64);

/// Whether no window of time has more lines than are read in it at the full rate, and
/// those of a millisecond or of one query more.
fn within_the_rate(reads: &[Read]) -> bool {
    let mut reads = reads.to_vec();
    reads.sort_unstable();
    let most = reads.iter().map(|&(_, lines)| lines * NS_PER_LINE).max();
    let spare = most.unwrap_or(0).max(MS);
    // For each read, of all windows that end with it, that with the most lines above
    // what the rate gives; each line as long as it takes.
    let (mut excess, mut before) = (0_u64, 0);
    reads.iter().all(|&(time, lines)| {
        excess = excess.saturating_sub(time - before) + lines * NS_PER_LINE;
        before = time;
        excess <= spare
    })
}

#[test]
fn within_the_rate_knows_when_it_is_not() {
    let full = LINES_PER_MS;
    assert!(within_the_rate(&[(0, full), (MS, full), (2 * MS, full)]));
    assert!(!within_the_rate(&[(5, full), (MS, full)]));
    assert!(within_the_rate(&[(0, 9 * full), (9 * MS, 9 * full)]));
    assert!(!within_the_rate(&[(0, 9 * full), (8 * MS, 9 * full)]));
}

/// A query's lines: few, as many as a millisecond has, or many.
fn any_lines() -> impl Strategy<Value = u64> {
    prop_oneof![1u64..10, 1..2 * LINES_PER_MS, 1..200 * LINES_PER_MS]
}

proptest! {
    /// Whatever the clock does.
    #[test]
    fn queries_that_wait_as_told_stay_within_the_rate(
        queries in prop::collection::vec((any_lines(), 0..300 * MS), 1..300),
        ordered: bool,
    ) {
        let budget = QueryBudget::new();
        let mut now = 0;
        let mut reads = Vec::new();
        for (lines, time) in queries {
            now = if ordered { now + time } else { time };
            reads.push((now + budget.take(lines, now), lines));
        }
        prop_assert!(within_the_rate(&reads));
    }

    /// By definition: until as many lines as were taken since any time, and were not
    /// refilled meanwhile, are no more than those of a millisecond.
    #[test]
    fn queries_wait_no_longer_than_they_must(
        start in prop_oneof![Just(0), Just(4000 * DAY_NS)],
        queries in prop::collection::vec((any_lines(), 0..30 * MS), 1..100),
    ) {
        let budget = QueryBudget::new();
        let (mut now, mut taken) = (start, Vec::new());
        for (lines, pause) in queries {
            now += pause;
            taken.push((now, lines));
            let mut cost = 0;
            let debts = taken.iter().rev().map(|&(time, lines)| {
                cost += lines * NS_PER_LINE;
                cost.saturating_sub(now - time).saturating_sub(MS)
            });
            let want = debts.max().unwrap_or(0);
            prop_assert_eq!(budget.take(lines, now), want);
        }
    }

    #[test]
    fn a_guest_below_the_rate_never_waits(
        start in prop_oneof![Just(0), Just(4000 * DAY_NS)],
        queries in prop::collection::vec((1..=LINES_PER_MS, 0..MS), 1..1000),
    ) {
        let budget = QueryBudget::new();
        let mut now = start;
        for (lines, more) in queries {
            prop_assert_eq!(budget.take(lines, now), 0);
            now += lines * NS_PER_LINE + more;
        }
    }

    #[test]
    fn no_number_is_too_much(
        queries in prop::collection::vec(
            (
                prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()],
                prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
            ),
            1..20,
        ),
    ) {
        let (queried, logged) = (QueryBudget::new(), LogBudget::new());
        for (lines, now) in queries {
            queried.take(lines, now);
            logged.take(lines.max(1), now);
        }
    }
}

/// Nothing is lost in rounding, and given away.
#[test]
fn many_small_queries_stay_within_the_rate() {
    assert_eq!(MS % LINES_PER_MS, 0);
    let budget = QueryBudget::new();
    let reads: Vec<Read> = (0..100_000).map(|_| (budget.take(1, 0), 1)).collect();
    assert!(within_the_rate(&reads));
}

#[test]
fn a_query_for_nothing_is_free_and_a_huge_one_is_not() {
    let budget = QueryBudget::new();
    assert_eq!(budget.take(0, 5), 0);
    assert_eq!(budget.take(LINES_PER_MS, 5), 0);
    assert_eq!(budget.take(0, 5), 0);
    assert_eq!(budget.take(u64::MAX, 5), u64::MAX - 5 - MS);
    assert_eq!(budget.take(1, 5), u64::MAX - 5 - MS);
}

#[test]
fn a_guest_that_has_waited_owes_nothing() {
    let budget = QueryBudget::new();
    let wait = budget.take(10 * LINES_PER_MS, 7);
    assert_eq!(wait, 9 * MS);
    assert_eq!(budget.take(LINES_PER_MS, 7 + wait), MS);
    assert_eq!(budget.take(LINES_PER_MS, 7 + wait + 3 * MS), 0);
}

/// Several vCPUs of a guest are together no faster than one.
#[test]
fn queries_at_the_same_time_share_the_rate() {
    let budget = QueryBudget::new();
    // What a vCPU reads, which asks much faster than it may.
    let reads_of = |vcpu: u64| -> Vec<Read> {
        let ask = |query| {
            let (lines, now) = (1 + (vcpu + query) % 3 * 500, query * (vcpu + 1));
            (now + budget.take(lines, now), lines)
        };
        (0..5_000).map(ask).collect()
    };
    let reads: Vec<Read> = std::thread::scope(|scope| {
        let vcpus = [0, 1, 2, 3].map(|vcpu| scope.spawn(move || reads_of(vcpu)));
        vcpus
            .into_iter()
            .flat_map(|vcpu| vcpu.join().unwrap())
            .collect()
    });
    assert!(within_the_rate(&reads));
    let lines: u64 = reads.iter().map(|(_, lines)| lines).sum();
    let last = reads.iter().map(|(time, _)| time).max().unwrap();
    assert_eq!(last + MS, lines * NS_PER_LINE);
}
