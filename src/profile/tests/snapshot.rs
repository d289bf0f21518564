// SPDX-License-Identifier: GPL-2.0

//! Snapshots: which leaves answer from them, and which never do.

mod common;

use common::{any_counts, any_identity, any_isa, any_reason, Counts, Vcpu};
use profile::{
    isa::Isa,
    leaf::{self, Command, Identity, Registers, SnapshotState},
    query::{Figure, Query, Responder, When},
};
use proptest::prelude::*;

/// A leaf that answers as things are, and that of the same figure of the snapshot.
const PAIRS: [(u32, u32); 7] = [
    (0x4fff_ff02, 0x4fff_ffe2),
    (0x4fff_ff04, 0x4fff_ffe4),
    (0x4fff_ff05, 0x4fff_ffe5),
    (0x4fff_fffc, 0x4fff_ffec),
    (0x4fff_fffd, 0x4fff_ffed),
    (0x4fff_fffe, 0x4fff_ffee),
    (0x4fff_ffff, 0x4fff_ffef),
];

const UNDEFINED: [u32; 4] = [0, 0, 0, u32::MAX];

#[test]
fn leaves_of_a_snapshot_end_with_the_same_digit() {
    assert_eq!(
        PAIRS.map(|(live, _)| live),
        [
            leaf::HIDDEN,
            leaf::IDENTITY,
            leaf::UNTIMED,
            leaf::TOTAL_EXITS,
            leaf::TOTAL_CYCLES,
            leaf::EXITS,
            leaf::CYCLES,
        ]
    );
    for (live, held) in PAIRS {
        assert_eq!(leaf::of_snapshot(live), held, "{live:#x}");
        for ecx in [0, 48, u32::MAX] {
            let figure = |eax| match Query::new(eax, ecx) {
                Some(Query::Figure(when, figure)) => (when, figure),
                other => panic!("{eax:#x}: {other:?}"),
            };
            let ((now, one), (then, other)) = (figure(live), figure(held));
            assert_eq!((now, then), (When::Now, When::Snapshot), "{live:#x}");
            assert_eq!(one, other, "{live:#x}");
        }
    }
}

#[test]
fn leaves_of_a_reason_have_it_in_ecx() {
    for (eax, want) in [
        (0x4fff_ff05, Figure::Untimed { reason: 77 }),
        (0x4fff_fffe, Figure::Exits { reason: 77 }),
        (0x4fff_ffff, Figure::Cycles { reason: 77 }),
    ] {
        let query = Query::new(eax, 77);
        assert_eq!(query, Some(Query::Figure(When::Now, want)), "{eax:#x}");
        let query = Query::new(leaf::of_snapshot(eax), 77);
        assert_eq!(query, Some(Query::Figure(When::Snapshot, want)), "{eax:#x}");
    }
}

#[test]
fn a_snapshot_is_released_taken_and_told_of() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    for (command, answer) in [
        (2, [0, 0x8000_0000, 0, 0]),
        (1, [1, 0x8000_0001, 0, 0]),
        (2, [1, 0x8000_0001, 0, 0]),
        (1, [1, 0x8000_0002, 0, 0]),
        (0, [0, 0x8000_0002, 0, 0]),
        (2, [0, 0x8000_0002, 0, 0]),
    ] {
        assert_eq!(vcpu.cpuid(0x4fff_ffe0, command), answer, "{command}");
    }
    let snapshot = vcpu.snapshot(Command::Take);
    assert_eq!(SnapshotState::from(Registers::from(snapshot)), snapshot);
}

#[test]
fn other_subleaves_are_undefined_and_do_nothing() {
    for taken_before in [0, 1] {
        let mut vcpu = Vcpu::distinct(Isa::Vmx);
        vcpu.cpuid(0x4fff_ffe0, taken_before);
        let before = vcpu.clone();
        for command in [3, 4, 0x101, 0x8000_0001, u32::MAX] {
            assert_eq!(vcpu.cpuid(0x4fff_ffe0, command), UNDEFINED, "{command:#x}");
            assert_eq!(vcpu, before, "{command:#x}");
        }
    }
}

#[test]
fn leaf_03_takes_no_snapshot() {
    let mut vcpu = Vcpu::distinct(Isa::Vmx);
    for ecx in [0, 1, 2, 3] {
        assert_eq!(vcpu.cpuid(0x4fff_ff03, ecx), [0; 4]);
    }
    assert_eq!(vcpu, Vcpu::distinct(Isa::Vmx));
}

/// What may happen between two queries.
#[derive(Clone, Debug)]
enum Event {
    Command(u32),
    Leaf(u32, u32),
    Counts(Counts),
    Identity(Identity),
}

fn any_event(isa: Isa) -> impl Strategy<Value = Event> {
    prop_oneof![
        (0u32..4).prop_map(Event::Command),
        (0x4fff_ff00..=0x4fff_ffffu32, 0u32..4).prop_map(|(eax, ecx)| Event::Leaf(eax, ecx)),
        any_counts(isa).prop_map(Event::Counts),
        any_identity().prop_map(Event::Identity),
    ]
}

/// What a vCPU that holds no snapshot answers.
fn live(vcpu: &Vcpu, eax: u32, ecx: u32) -> [u32; 4] {
    Vcpu {
        held: None,
        ..vcpu.clone()
    }
    .cpuid(eax, ecx)
}

proptest! {
    /// The others answer as the live ones did when the last one was taken.
    #[test]
    fn live_leaves_never_answer_from_a_snapshot_whatever_was_commanded(
        (isa, events) in any_isa()
            .prop_flat_map(|isa| (Just(isa), prop::collection::vec(any_event(isa), 0..20))),
        reason in any_reason(),
    ) {
        let mut vcpu = Vcpu::distinct(isa);
        let mut taken: Option<Vcpu> = None;
        for event in events {
            let command = match event {
                Event::Counts(counts) => {
                    vcpu.live = counts;
                    None
                }
                Event::Identity(identity) => {
                    vcpu.identity = identity;
                    None
                }
                Event::Command(command) => Some((0x4fff_ffe0, command)),
                Event::Leaf(eax, ecx) => Some((eax, ecx)),
            };
            if let Some((eax, ecx)) = command {
                vcpu.cpuid(eax, ecx);
                match (eax, ecx) {
                    (0x4fff_ffe0, 0) => taken = None,
                    (0x4fff_ffe0, 1) => taken = Some(vcpu.clone()),
                    _ => (),
                }
            }
            for (now, then) in PAIRS {
                let want = live(&vcpu, now, reason);
                prop_assert_eq!(vcpu.cpuid(now, reason), want, "{:#x}", now);
                let want = match &taken {
                    Some(taken) => live(taken, now, reason),
                    None => UNDEFINED,
                };
                prop_assert_eq!(vcpu.cpuid(then, reason), want, "{:#x}", then);
            }
        }
    }
}
