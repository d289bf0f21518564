// SPDX-License-Identifier: GPL-2.0

//! The profile model, against the user-visible rules and for any input.

use kvm_exitprof::profile::counts::{Counter, Profile, Sample, Summed};
use kvm_exitprof::profile::leaf::{
    self, Answer, Asker, Command, LogLine, Protocol, Query, Registers, Responder, Scope, Snapshot,
};
use kvm_exitprof::profile::reason::{Isa, Status};
use proptest::prelude::*;
use std::ops::RangeInclusive;

/// What the manuals define and what KVM handles: written down here once more,
/// for the tables must not be their own judges.
struct Rules {
    isa: Isa,
    handled: &'static [RangeInclusive<u32>],
    unhandled: &'static [RangeInclusive<u32>],
    undefined: &'static [RangeInclusive<u32>],
}

const VMX: Rules = Rules {
    isa: Isa::Vmx,
    handled: &[
        0..=2,
        7..=10,
        12..=15,
        18..=32,
        36..=37,
        39..=41,
        43..=50,
        52..=62,
        74..=75,
    ],
    unhandled: &[
        3..=6,
        11..=11,
        16..=17,
        33..=34,
        51..=51,
        63..=70,
        72..=73,
        76..=79,
    ],
    undefined: &[
        35..=35,
        38..=38,
        42..=42,
        71..=71,
        80..=1000,
        0xdead..=0xdead,
        0x1_000a..=0x1_000a,
        0x8000_0021..=0x8000_0021,
        u32::MAX..=u32::MAX,
    ],
};

const SVM: Rules = Rules {
    isa: Isa::Svm,
    handled: &[
        0x00..=0x00,
        0x03..=0x04,
        0x08..=0x08,
        0x10..=0x10,
        0x13..=0x14,
        0x18..=0x18,
        0x20..=0x27,
        0x30..=0x37,
        0x41..=0x41,
        0x43..=0x43,
        0x46..=0x46,
        0x4d..=0x4e,
        0x51..=0x52,
        0x60..=0x62,
        0x64..=0x65,
        0x6f..=0x6f,
        0x72..=0x74,
        0x76..=0x7d,
        0x7f..=0x87,
        0x89..=0x8b,
        0x8d..=0x90,
        0x94..=0x94,
        0x98..=0x98,
        0xa2..=0xa2,
        0x400..=0x403,
    ],
    unhandled: &[
        0x02..=0x02,
        0x12..=0x12,
        0x40..=0x40,
        0x42..=0x42,
        0x44..=0x45,
        0x47..=0x4c,
        0x4f..=0x50,
        0x53..=0x5f,
        0x63..=0x63,
        0x66..=0x6e,
        0x70..=0x71,
        0x75..=0x75,
        0x7e..=0x7e,
        0x88..=0x88,
        0x8c..=0x8c,
        0x91..=0x93,
        0x95..=0x97,
        0x99..=0x9f,
        0x8000_0001..=0x8000_0005,
        0x8000_0010..=0x8000_0013,
        0x8000_fffd..=0x8000_ffff,
        0xf000_0000..=0xf000_0000,
        u32::MAX..=u32::MAX,
    ],
    undefined: &[
        0x01..=0x01,
        0x05..=0x07,
        0x09..=0x0f,
        0x11..=0x11,
        0x15..=0x17,
        0x19..=0x1f,
        0x28..=0x2f,
        0x38..=0x3f,
        0xa0..=0xa1,
        0xa3..=0x3ff,
        0x404..=0x1000,
        0xdead..=0xdead,
        0x1_0072..=0x1_0072,
        0x7fff_ffff..=0x8000_0000,
        0x8000_0006..=0x8000_000f,
        0x8000_0014..=0x8000_1000,
        0x8000_fffc..=0x8000_fffc,
        0x8001_0000..=0x8001_0000,
        0xefff_ffff..=0xefff_ffff,
        0xf000_0001..=0xf000_0001,
        0xffff_fffe..=0xffff_fffe,
    ],
};

/// The numbers in `ranges`.
fn all(ranges: &[RangeInclusive<u32>]) -> impl Iterator<Item = u32> + '_ {
    ranges.iter().cloned().flatten()
}

/// Summed as a test sets them.
#[derive(Clone, Debug)]
struct Fake(Isa, Vec<Sample>);

impl Responder for Fake {
    fn protocol(&self) -> Protocol {
        Protocol {
            version: 2,
            isa: self.0 as u8,
            scope: 1,
            features: 1,
            epoch: 7,
            tsc_khz: 50_000,
        }
    }

    fn snapshot(&mut self, command: Command) -> Snapshot {
        Snapshot {
            held: command == Command::Take,
            taken: 0x8000_0001,
        }
    }
}

impl Profile for Fake {
    fn isa(&self) -> Isa {
        self.0
    }

    fn slot(&self, slot: usize) -> Sample {
        self.1[slot]
    }
}

fn zeros(isa: Isa) -> Fake {
    Fake(isa, vec![Sample::default(); isa.slots()])
}

/// A different number in each slot, with something in both halves.
fn distinct(isa: Isa) -> Fake {
    let sample = |slot: u64| Sample {
        exits: 0x1_0000_0001 * (slot + 1),
        cycles: 0x10_0000_0010 * (slot + 1),
    };
    Fake(isa, (0..isa.slots() as u64).map(sample).collect())
}

fn ask(profile: &Fake, eax: u32, ecx: u32) -> [u32; 4] {
    let r = Registers::from(Query::new(eax, ecx).unwrap().answer(&mut profile.clone()));
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// What each CPU has counted.
struct OfCpus(Isa, Vec<Vec<Counter>>);

impl Summed for OfCpus {
    fn isa(&self) -> Isa {
        self.0
    }

    fn each(&self, mut with: impl FnMut(&[Counter])) {
        self.1.iter().for_each(|counters| with(counters));
    }
}

#[test]
fn answers_are_sums_over_cpus() {
    for isa in [Isa::Vmx, Isa::Svm] {
        let profile = distinct(isa);
        let counter = |s: &Sample| Counter {
            exits: s.exits.into(),
            cycles: s.cycles.into(),
        };
        let cpu = || profile.1.iter().map(counter).collect();
        let cpus = OfCpus(isa, vec![cpu(), cpu(), cpu()]);
        let thrice = |s: Sample| s + s + s;
        for slot in 0..isa.slots() {
            assert_eq!(cpus.slot(slot), thrice(profile.slot(slot)));
        }
        assert_eq!(cpus.total(), thrice(profile.total()));
        assert_eq!(cpus.hidden(), thrice(profile.hidden()));
    }
}

#[test]
fn total_exits_are_in_eax_and_ebx() {
    let mut profile = zeros(Isa::Vmx);
    profile.1[48].exits = 0x1122_3344_5566_7788;
    profile.1[80].exits = 1;
    assert_eq!(
        ask(&profile, 0x4fff_fffc, 99),
        [0x5566_7789, 0x1122_3344, 0, 0]
    );
}

#[test]
fn total_cycles_are_in_ecx_and_ebx() {
    let mut profile = zeros(Isa::Vmx);
    profile.1[0].cycles = 0x1122_3344_5566_7788;
    profile.1[79].cycles = 1;
    assert_eq!(
        ask(&profile, 0x4fff_fffd, 99),
        [0, 0x1122_3344, 0x5566_7789, 0]
    );
}

#[test]
fn a_handled_reason_reads_a_slot_of_its_own() {
    for rules in [VMX, SVM] {
        let (isa, profile) = (rules.isa, distinct(rules.isa));
        let mut seen = Vec::new();
        for reason in all(rules.handled) {
            let exits = ask(&profile, 0x4fff_fffe, reason);
            let n = exits[0];
            let cycles = ask(&profile, 0x4fff_ffff, reason);
            assert_eq!(isa.status(reason), Status::Handled, "{isa:?} {reason:#x}");
            assert_eq!(exits, [n, n, 0, 0], "{isa:?} {reason:#x}");
            assert_eq!(cycles, [0, n * 16, n * 16, 0], "{isa:?} {reason:#x}");
            assert!(!seen.contains(&n), "{isa:?} {reason:#x}");
            seen.push(n);
        }
    }
}

/// What a guest sees is what was recorded for that number, and no other.
#[test]
fn numbers_and_slots_are_one_to_one() {
    for rules in [VMX, SVM] {
        let isa = rules.isa;
        let mut slots = Vec::new();
        for reason in all(rules.handled).chain(all(rules.unhandled)) {
            assert_eq!(isa.reason(isa.slot(reason)), Some(reason), "{reason:#x}");
            slots.push(isa.slot(reason));
        }
        slots.sort_unstable();
        slots.dedup();
        let defined = all(rules.handled).chain(all(rules.unhandled)).count();
        assert_eq!(slots.len(), defined, "{isa:?}");
        assert_eq!(isa.reason(isa.slots() - 1), None);
        assert_eq!(isa.reason(isa.slots()), None);
    }
    assert_eq!((Isa::Vmx.slots(), Isa::Svm.slots()), (81, 192));
    assert_eq!(Isa::Vmx.slot(48), 48);
    assert_eq!(Isa::Svm.slot(0x72), 0x72);
}

#[test]
fn an_unhandled_reason_reads_zero_whatever_was_counted() {
    for rules in [VMX, SVM] {
        let (isa, profile) = (rules.isa, distinct(rules.isa));
        for reason in all(rules.unhandled) {
            assert_eq!(isa.status(reason), Status::Unhandled, "{isa:?} {reason:#x}");
            for leaf in [0x4fff_fffe, 0x4fff_ffff] {
                assert_eq!(ask(&profile, leaf, reason), [0; 4], "{isa:?} {reason:#x}");
            }
        }
    }
}

#[test]
fn an_undefined_reason_sets_edx() {
    for rules in [VMX, SVM] {
        let (isa, profile) = (rules.isa, distinct(rules.isa));
        for reason in all(rules.undefined) {
            let want = [0, 0, 0, u32::MAX];
            assert_eq!(isa.status(reason), Status::Undefined, "{isa:?} {reason:#x}");
            for leaf in [0x4fff_fffe, 0x4fff_ffff] {
                assert_eq!(ask(&profile, leaf, reason), want, "{isa:?} {reason:#x}");
            }
        }
    }
}

#[test]
fn discovery_shows_the_highest_leaf_and_the_signature() {
    let [eax, ebx, ecx, edx] = ask(&distinct(Isa::Vmx), 0x4fff_ff00, 0);
    assert_eq!(eax, 0x4fff_ffff);
    let signature: Vec<u8> = [ebx, ecx, edx]
        .iter()
        .flat_map(|r| r.to_le_bytes())
        .collect();
    assert_eq!(signature, b"KVMExitProf\0");
}

#[test]
fn the_protocol_leaf_describes_the_profile() {
    for (isa, eax) in [(Isa::Vmx, 0x0101_0002), (Isa::Svm, 0x0102_0002)] {
        let profile = distinct(isa);
        assert_eq!(ask(&profile, 0x4fff_ff01, 0), [eax, 1, 7, 50_000]);
        let protocol = Protocol::from(Registers::from(
            Query::Protocol.answer(&mut profile.clone()),
        ));
        assert_eq!(protocol, profile.protocol());
        assert_eq!(Isa::from_number(protocol.isa), Some(isa));
    }
    assert_eq!([0, 3, 255].map(Isa::from_number), [None; 3]);
}

#[test]
fn a_snapshot_is_released_taken_and_told_of() {
    let profile = zeros(Isa::Vmx);
    for (command, held) in [(0, 0), (1, 1), (2, 0)] {
        let answer = ask(&profile, 0x4fff_ff03, command);
        assert_eq!(answer, [held, 0x8000_0001, 0, 0]);
    }
    for command in [3, 0x101, u32::MAX] {
        assert_eq!(ask(&profile, 0x4fff_ff03, command), [0, 0, 0, u32::MAX]);
    }
    let snapshot = profile.clone().snapshot(Command::Take);
    assert_eq!(Snapshot::from(Registers::from(snapshot)), snapshot);
}

#[test]
fn scopes_have_numbers() {
    let scopes = [0, 1, 2, 3, 4].map(Scope::from_number);
    let [host, vm, vcpu] = [Scope::Host, Scope::Vm, Scope::Vcpu].map(Some);
    assert_eq!(scopes, [None, host, vm, vcpu, None]);
}

#[test]
fn unassigned_leaves_read_zero_and_others_are_not_ours() {
    for eax in 0x4fff_ff04..=0x4fff_fffb {
        assert_eq!(ask(&distinct(Isa::Vmx), eax, 1), [0; 4], "{eax:#x}");
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
    assert_eq!(Isa::Vmx.name(48).to_string(), "EPT_VIOLATION");
    assert_eq!(Isa::Vmx.name(35).to_string(), "UNKNOWN(35)");
    assert_eq!(Isa::Vmx.name(0xdead).to_string(), "UNKNOWN(57005)");
    assert_eq!(Isa::Svm.name(0x400).to_string(), "NPF");
    assert_eq!(Isa::Svm.name(0x4e).to_string(), "EXCP_PF");
    assert_eq!(Isa::Svm.name(u32::MAX).to_string(), "ERR");
    for reason in [0, 9, 10, 35, 48, 99, 100, 0xdead] {
        let name = Isa::Vmx.name(reason);
        assert_eq!(format!("{name:<20}").len(), 20, "{reason}");
    }
}

#[test]
fn numbers_are_aligned_to_the_right() {
    assert_eq!(format!("{:>6}", Isa::Vmx.number(48)), "    48");
    assert_eq!(format!("{:>6}", Isa::Svm.number(0x72)), "  0x72");
    assert_eq!(Isa::Svm.number(0x400).to_string(), "0x400");
}

#[test]
fn log_lines_have_the_documented_form() {
    let line = |eax, ecx| {
        let query = Query::new(eax, ecx).unwrap();
        let mut profile = zeros(Isa::Vmx);
        profile.1[48] = Sample {
            exits: 701_051,
            cycles: 5_000_000_000,
        };
        let asker = Asker { pid: 1234, vcpu: 7 };
        LogLine::new(asker, query, query.answer(&mut profile.clone())).map(|line| line.to_string())
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
        let want = format!("{want} (pid 1234, vCPU 7)");
        assert_eq!(line(eax, ecx), Some(want));
    }
    for eax in [
        0x4fff_ff00,
        0x4fff_ff01,
        0x4fff_ff02,
        0x4fff_ff03,
        0x4fff_ff80,
    ] {
        assert_eq!(line(eax, 0), None, "{eax:#x}");
        assert_eq!(line(eax, 99), None, "{eax:#x}");
    }
}

fn any_profile() -> impl Strategy<Value = Fake> {
    prop_oneof![Just(Isa::Vmx), Just(Isa::Svm)].prop_flat_map(|isa| {
        let sample = any::<(u64, u64)>().prop_map(|(exits, cycles)| Sample { exits, cycles });
        prop::collection::vec(sample, isa.slots()).prop_map(move |slots| Fake(isa, slots))
    })
}

/// Any number, and often one that means something.
fn any_reason() -> impl Strategy<Value = u32> {
    let near = |rules: Rules| {
        let ranges = [rules.handled, rules.unhandled, rules.undefined].concat();
        prop::sample::select(all(&ranges).collect::<Vec<_>>())
    };
    prop_oneof![near(VMX), near(SVM), any::<u32>()]
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
        ecx in any_reason(),
    ) {
        let query = Query::new(eax, ecx).unwrap();
        let answer = query.answer(&mut profile.clone());
        prop_assert_eq!(query.decode(answer.into()), answer);
    }

    #[test]
    fn reasons_and_what_they_hide_add_up(profile in any_profile()) {
        let read = |eax, ecx| {
            let query = Query::new(eax, ecx).unwrap();
            query.decode(Registers::from(query.answer(&mut profile.clone())))
        };
        let (mut exits, mut cycles) = match read(leaf::HIDDEN, 0) {
            Answer::Sample(hidden) => (hidden.exits, hidden.cycles),
            other => panic!("{other:?}"),
        };
        for reason in (0..profile.0.slots()).filter_map(|slot| profile.0.reason(slot)) {
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
    fn any_reason_has_a_slot_and_a_name(reason in any_reason()) {
        for isa in [Isa::Vmx, Isa::Svm] {
            let slot = isa.slot(reason);
            prop_assert!(slot < isa.slots());
            let counted = isa.reason(slot);
            prop_assert!(counted.is_none() || counted == Some(reason));
            prop_assert!(counted.is_some() || isa.status(reason) == Status::Undefined);
            prop_assert!(!isa.name(reason).to_string().is_empty());
        }
    }
}
