// SPDX-License-Identifier: GPL-2.0

//! The profile model, against the user-visible rules and for any input.

use kvm_exitprof::profile::counts::{Profile, Sample};
use kvm_exitprof::profile::leaf::{self, Answer, LogLine, Protocol, Query, Registers};
use kvm_exitprof::profile::log::{Budget, Queue, BURST, GUESTS, REFILL_NS};
use kvm_exitprof::profile::reason::{Isa, Status};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ISA: Isa = Isa::Vmx;

/// What the SDM leaves out, and what KVM has no handler for: written down here
/// once more, for the table must not be its own judge.
const UNDEFINED: [u32; 4] = [35, 38, 42, 71];
const UNHANDLED: [u32; 24] = [
    3, 4, 5, 6, 11, 16, 17, 33, 34, 51, 63, 64, 65, 66, 67, 68, 69, 70, 72, 73, 76, 77, 78, 79,
];

/// Counters as a test sets them.
#[derive(Clone, Debug)]
struct Fake(Vec<Sample>);

impl Profile for Fake {
    fn isa(&self) -> Isa {
        ISA
    }

    fn slot(&self, slot: usize) -> Sample {
        self.0[slot]
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: 1,
            isa: 1,
            scope: 1,
            features: 0,
            epoch: 7,
            tsc_khz: 50_000,
        }
    }
}

/// A different number in each slot, with something in both halves.
fn distinct() -> Fake {
    let sample = |slot: u64| Sample {
        exits: 0x1_0000_0001 * (slot + 1),
        cycles: 0x10_0000_0010 * (slot + 1),
    };
    Fake((0..ISA.slots() as u64).map(sample).collect())
}

fn ask(profile: &Fake, eax: u32, ecx: u32) -> [u32; 4] {
    let r = Registers::from(Query::new(eax, ecx).unwrap().answer(profile));
    [r.eax, r.ebx, r.ecx, r.edx]
}

#[test]
fn total_exits_are_in_eax_and_ebx() {
    let mut profile = Fake(vec![Sample::default(); ISA.slots()]);
    profile.0[48].exits = 0x1122_3344_5566_7788;
    profile.0[80].exits = 1;
    assert_eq!(
        ask(&profile, 0x4fff_fffc, 99),
        [0x5566_7789, 0x1122_3344, 0, 0]
    );
}

#[test]
fn total_cycles_are_in_ecx_and_ebx() {
    let mut profile = Fake(vec![Sample::default(); ISA.slots()]);
    profile.0[0].cycles = 0x1122_3344_5566_7788;
    profile.0[79].cycles = 1;
    assert_eq!(
        ask(&profile, 0x4fff_fffd, 99),
        [0, 0x1122_3344, 0x5566_7789, 0]
    );
}

#[test]
fn a_handled_reason_reads_its_own_slot() {
    for reason in (0..80).filter(|r| !UNDEFINED.contains(r) && !UNHANDLED.contains(r)) {
        let n = reason + 1;
        assert_eq!(
            ask(&distinct(), 0x4fff_fffe, reason),
            [n, n, 0, 0],
            "{reason}"
        );
        assert_eq!(
            ask(&distinct(), 0x4fff_ffff, reason),
            [0, n * 16, n * 16, 0],
            "{reason}"
        );
    }
}

#[test]
fn an_unhandled_reason_reads_zero_whatever_was_counted() {
    for reason in UNHANDLED {
        assert_eq!(ISA.status(reason), Status::Unhandled, "{reason}");
        assert_eq!(ask(&distinct(), 0x4fff_fffe, reason), [0; 4], "{reason}");
        assert_eq!(ask(&distinct(), 0x4fff_ffff, reason), [0; 4], "{reason}");
    }
}

#[test]
fn an_undefined_reason_sets_edx() {
    for reason in UNDEFINED
        .into_iter()
        .chain([80, 81, 0xdead, 1 << 16 | 10, u32::MAX])
    {
        assert_eq!(ISA.status(reason), Status::Undefined, "{reason}");
        assert_eq!(
            ask(&distinct(), 0x4fff_fffe, reason),
            [0, 0, 0, u32::MAX],
            "{reason}"
        );
        assert_eq!(
            ask(&distinct(), 0x4fff_ffff, reason),
            [0, 0, 0, u32::MAX],
            "{reason}"
        );
    }
}

#[test]
fn discovery_shows_the_highest_leaf_and_the_signature() {
    let [eax, ebx, ecx, edx] = ask(&distinct(), 0x4fff_ff00, 0);
    assert_eq!(eax, 0x4fff_ffff);
    let signature: Vec<u8> = [ebx, ecx, edx]
        .iter()
        .flat_map(|r| r.to_le_bytes())
        .collect();
    assert_eq!(signature, b"KVMExitProf\0");
}

#[test]
fn the_protocol_leaf_describes_the_profile() {
    assert_eq!(
        ask(&distinct(), 0x4fff_ff01, 0),
        [0x0101_0001, 0, 7, 50_000]
    );
    let registers = Registers::from(Query::Protocol.answer(&distinct()));
    assert_eq!(Protocol::from(registers), distinct().protocol());
}

#[test]
fn unassigned_leaves_read_zero_and_others_are_not_ours() {
    for eax in 0x4fff_ff03..=0x4fff_fffb {
        assert_eq!(ask(&distinct(), eax, 1), [0; 4], "{eax:#x}");
    }
    for eax in [
        0,
        0x4000_0000,
        0x4fff_feff,
        0x5000_0000,
        0x8000_0000,
        u32::MAX,
    ] {
        assert_eq!(Query::new(eax, 0), None, "{eax:#x}");
    }
}

#[test]
fn names_are_the_kernels_and_unknown_ones_show_their_number() {
    assert_eq!(ISA.name(48).to_string(), "EPT_VIOLATION");
    assert_eq!(ISA.name(35).to_string(), "UNKNOWN(35)");
    assert_eq!(ISA.name(0xdead).to_string(), "UNKNOWN(57005)");
    for reason in [0, 9, 10, 35, 48, 99, 100, 0xdead] {
        assert_eq!(format!("{:<20}", ISA.name(reason)).len(), 20, "{reason}");
    }
}

#[test]
fn log_lines_have_the_documented_form() {
    let line = |eax, ecx| {
        let query = Query::new(eax, ecx).unwrap();
        let mut profile = Fake(vec![Sample::default(); ISA.slots()]);
        profile.0[48] = Sample {
            exits: 701_051,
            cycles: 5_000_000_000,
        };
        LogLine::new(query, query.answer(&profile)).map(|line| line.to_string())
    };
    for (eax, ecx, want) in [
        (0x4fff_fffc, 0, "0x4ffffffc, Total exits=701051"),
        (0x4fff_fffd, 0, "0x4ffffffd, Total cycles=5000000000"),
        (
            0x4fff_fffe,
            48,
            "0x4ffffffe, Exit number 48. Total exits=701051",
        ),
        (
            0x4fff_ffff,
            48,
            "0x4fffffff, Exit number 48. Total cycles=5000000000",
        ),
        (0x4fff_fffe, 3, "0x4ffffffe, Exit number 3. Total exits=0"),
        (
            0x4fff_fffe,
            35,
            "0x4ffffffe, Exit number 35. Total exits=0 (undefined)",
        ),
    ] {
        assert_eq!(line(eax, ecx).as_deref(), Some(want));
    }
    for eax in [0x4fff_ff00, 0x4fff_ff01, 0x4fff_ff02, 0x4fff_ff80] {
        assert_eq!(line(eax, 0), None, "{eax:#x}");
    }
}

fn any_profile() -> impl Strategy<Value = Fake> {
    let sample = (any::<u64>(), any::<u64>()).prop_map(|(exits, cycles)| Sample { exits, cycles });
    prop::collection::vec(sample, ISA.slots()).prop_map(Fake)
}

proptest! {
    #[test]
    fn halves_join_to_what_was_split(value: u64) {
        let (low, high) = leaf::split(value);
        prop_assert_eq!(leaf::join(low, high), value);
        prop_assert_eq!((low, high), (value as u32, (value >> 32) as u32));
    }

    #[test]
    fn every_answer_can_be_decoded(
        profile in any_profile(),
        eax in 0x4fff_ff00u32..=0x4fff_ffff,
        ecx in prop_oneof![0u32..90, any::<u32>()],
    ) {
        let query = Query::new(eax, ecx).unwrap();
        let answer = query.answer(&profile);
        prop_assert_eq!(query.decode(answer.into()), answer);
    }

    #[test]
    fn reasons_and_what_they_hide_add_up(profile in any_profile()) {
        let read = |eax, ecx| {
            let query = Query::new(eax, ecx).unwrap();
            query.decode(Registers::from(query.answer(&profile)))
        };
        let (mut exits, mut cycles) = match read(leaf::HIDDEN, 0) {
            Answer::Sample(hidden) => (hidden.exits, hidden.cycles),
            other => panic!("{other:?}"),
        };
        for reason in 0..200 {
            if let Answer::Exits(n) = read(leaf::EXITS, reason) {
                exits = exits.wrapping_add(n);
            }
            if let Answer::Cycles(n) = read(leaf::CYCLES, reason) {
                cycles = cycles.wrapping_add(n);
            }
        }
        prop_assert_eq!(read(leaf::TOTAL_EXITS, 0), Answer::Exits(exits));
        prop_assert_eq!(read(leaf::TOTAL_CYCLES, 0), Answer::Cycles(cycles));
    }

    #[test]
    fn any_reason_has_a_slot_and_a_name(reason: u32) {
        let slot = ISA.slot(reason);
        prop_assert!(slot < ISA.slots());
        prop_assert_eq!(ISA.reason(slot), if reason < 80 { Some(reason) } else { None });
        prop_assert!(!ISA.name(reason).to_string().is_empty());
    }

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
    while budget.take(1, 1) {}
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
        while queue.push([lap, n, !n]) {
            n += 1;
        }
        assert!(n >= BURST);
        for i in 0..n {
            assert_eq!(queue.pop(), Some([lap, i, !i]));
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
                    while !queue.push([writer, n, writer ^ n]) {
                        std::thread::yield_now();
                    }
                }
            });
        }
        let mut left = WRITERS * EACH;
        while left > 0 {
            let Some([writer, n, check]) = queue.pop() else {
                std::thread::yield_now();
                continue;
            };
            let want = next.entry(writer).or_insert(0);
            assert_eq!((n, check), (*want, writer ^ n));
            *want += 1;
            left -= 1;
        }
    });
    assert_eq!(queue.pop(), None);
}
