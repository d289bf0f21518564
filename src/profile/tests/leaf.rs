// SPDX-License-Identifier: GPL-2.0

//! The leaves' answers, against the user-visible rules and for any input.

mod common;

use common::{all, any_identity, any_reason, any_vcpu, rules, Vcpu, SVM, VMX};
use profile::{
    counts::{Profile, Tally},
    isa::Isa,
    leaf::{self, Identity, Protocol, Registers, Scope},
    phases::Totals,
    query::{Answer, Query, Responder},
    reason::{Kernel, Status},
};
use proptest::prelude::*;

#[test]
fn total_exits_are_in_eax_and_ebx() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    vcpu.live.0[48].exits = 0x1122_3344_5566_7788;
    vcpu.live.0[86].exits = 1;
    assert_eq!(
        vcpu.cpuid(0x4fff_fffc, 99),
        [0x5566_7789, 0x1122_3344, 0, 0]
    );
}

#[test]
fn total_cycles_are_in_ecx_and_ebx() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    vcpu.live.0[0].cycles = 0x1122_3344_5566_7788;
    vcpu.live.0[79].cycles = 1;
    assert_eq!(
        vcpu.cpuid(0x4fff_fffd, 99),
        [0, 0x1122_3344, 0x5566_7789, 0]
    );
}

#[test]
fn what_is_hidden_is_in_all_registers() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    vcpu.live.0[33] = Tally {
        exits: 0x1122_3344_5566_7788,
        cycles: 0x99aa_bbcc_ddee_ff00,
        untimed: 5,
    };
    assert_eq!(
        vcpu.cpuid(0x4fff_ff02, 99),
        [0x5566_7788, 0x1122_3344, 0xddee_ff00, 0x99aa_bbcc]
    );
}

#[test]
fn a_handled_reason_reads_a_slot_of_its_own() {
    for rules in [VMX, SVM] {
        let (isa, mut vcpu) = (rules.isa, Vcpu::distinct(rules.isa));
        let mut seen = Vec::new();
        vcpu.kernel = Kernel::V7_3;
        for reason in all(rules.handled).chain(all(rules.newer)) {
            let exits = vcpu.cpuid(0x4fff_fffe, reason);
            let n = exits[0];
            let cycles = vcpu.cpuid(0x4fff_ffff, reason);
            let untimed = vcpu.cpuid(0x4fff_ff05, reason);
            assert_eq!(exits, [n, n, 0, 0], "{isa:?} {reason:#x}");
            assert_eq!(cycles, [0, n * 16, n * 16, 0], "{isa:?} {reason:#x}");
            assert_eq!(untimed, [n * 256, n * 256, 0, 0], "{isa:?} {reason:#x}");
            assert!(!seen.contains(&n), "{isa:?} {reason:#x}");
            seen.push(n);
        }
    }
}

/// The leaves of a reason.
const OF_A_REASON: [u32; 3] = [0x4fff_ff05, 0x4fff_fffe, 0x4fff_ffff];

#[test]
fn an_unhandled_reason_reads_zero_whatever_was_counted() {
    for rules in [VMX, SVM] {
        let (isa, mut vcpu) = (rules.isa, Vcpu::distinct(rules.isa));
        for kernel in [Kernel::V6_1, Kernel::V7_3] {
            vcpu.kernel = kernel;
            for reason in rules.unhandled(kernel) {
                for leaf in OF_A_REASON {
                    assert_eq!(vcpu.cpuid(leaf, reason), [0; 4], "{isa:?} {reason:#x}");
                }
            }
        }
    }
}

#[test]
fn an_undefined_reason_sets_edx() {
    for rules in [VMX, SVM] {
        let (isa, mut vcpu) = (rules.isa, Vcpu::distinct(rules.isa));
        for reason in all(rules.undefined) {
            let want = [0, 0, 0, u32::MAX];
            for leaf in OF_A_REASON {
                assert_eq!(vcpu.cpuid(leaf, reason), want, "{isa:?} {reason:#x}");
            }
        }
    }
}

#[test]
fn discovery_shows_the_highest_leaf_and_the_signature() {
    let [eax, ebx, ecx, edx] = Vcpu::distinct(Isa::Vmx).cpuid(0x4fff_ff00, 0);
    assert_eq!(eax, 0x4fff_ffff);
    let signature: Vec<u8> = [ebx, ecx, edx]
        .iter()
        .flat_map(|r| r.to_le_bytes())
        .collect();
    assert_eq!(signature, b"KVMExitProf\0");
}

#[test]
fn the_protocol_leaf_describes_the_profile() {
    for (isa, eax) in [(Isa::Vmx, 0x0101_0003), (Isa::Svm, 0x0102_0003)] {
        let mut vcpu = Vcpu::distinct(isa);
        assert_eq!(vcpu.cpuid(0x4fff_ff01, 0), [eax, 1, 7, 50_000]);
        let protocol = Protocol::from(Registers::from(Query::Protocol.answer(&mut vcpu)));
        assert_eq!(protocol, vcpu.protocol());
        assert_eq!(Isa::from_number(protocol.isa), Some(isa));
    }
    assert_eq!(leaf::VERSION, 3);
}

#[test]
fn the_identity_leaf_tells_what_is_counted() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    assert_eq!(
        vcpu.cpuid(0x4fff_ff04, 99),
        [0x97cb_3127, 0xc3a5_c85c, 7, 0]
    );
}

#[test]
fn scopes_have_numbers() {
    let scopes = [0, 1, 2, 3, 4].map(Scope::from_number);
    let [host, vm, vcpu] = [Scope::Host, Scope::Vm, Scope::Vcpu].map(Some);
    assert_eq!(scopes, [None, host, vm, vcpu, None]);
}

/// Leaf 0x4FFFFF03, which took snapshots in version 2, among them.
#[test]
fn unassigned_leaves_read_zero_and_others_are_not_ours() {
    let mut vcpu = Vcpu::distinct(Isa::Vmx);
    vcpu.cpuid(0x4fff_ffe0, 1);
    let before = vcpu.clone();
    for eax in [0x4fff_ff03, 0x4fff_ffe1, 0x4fff_ffe3]
        .into_iter()
        .chain(0x4fff_ff07..=0x4fff_ffdf)
        .chain(0x4fff_ffe7..=0x4fff_ffeb)
        .chain(0x4fff_fff0..=0x4fff_fffb)
    {
        for ecx in [0, 1, 2, 10, u32::MAX] {
            assert_eq!(vcpu.cpuid(eax, ecx), [0; 4], "{eax:#x} {ecx:#x}");
            assert_eq!(vcpu, before, "{eax:#x} {ecx:#x}");
        }
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

/// What CPUID shall answer, written down here once more.
fn rule(vcpu: &Vcpu, eax: u32, ecx: u32) -> [u32; 4] {
    const ZEROS: [u32; 4] = [0; 4];
    const UNDEFINED: [u32; 4] = [0, 0, 0, u32::MAX];
    let low = |n: u64| n as u32;
    let high = |n: u64| (n >> 32) as u32;
    let figure = |leaf: u32, identity: Identity, counts: &[Tally]| {
        let sum = |of: fn(&Tally) -> u64, wanted: &dyn Fn(usize) -> bool| {
            let wanted = counts.iter().enumerate().filter(|(slot, _)| wanted(*slot));
            wanted.fold(0_u64, |sum, (_, tally)| sum.wrapping_add(of(tally)))
        };
        let all = |_| true;
        let rules = rules(vcpu.isa);
        let handled: Vec<usize> = rules
            .defined()
            .filter(|&reason| rules.status(vcpu.kernel, reason) == Status::Handled)
            .map(|reason| vcpu.isa.slot(reason))
            .collect();
        let hidden = |slot| !handled.contains(&slot);
        let of_reason = |of: fn(&Tally) -> u64, answer: &dyn Fn(u64) -> [u32; 4]| match rules
            .status(vcpu.kernel, ecx)
        {
            Status::Handled => answer(of(&counts[vcpu.isa.slot(ecx)])),
            Status::Unhandled => ZEROS,
            Status::Undefined => UNDEFINED,
        };
        let exits = |n| [low(n), high(n), 0, 0];
        let cycles = |n| [0, high(n), low(n), 0];
        match leaf {
            0x2 => {
                let (exits, cycles) = (sum(|t| t.exits, &hidden), sum(|t| t.cycles, &hidden));
                [low(exits), high(exits), low(cycles), high(cycles)]
            }
            0x4 => [low(identity.id), high(identity.id), identity.epoch, 0],
            0x5 => of_reason(|t| t.untimed, &exits),
            0xc => exits(sum(|t| t.exits, &all)),
            0xd => cycles(sum(|t| t.cycles, &all)),
            0xe => of_reason(|t| t.exits, &exits),
            0xf => of_reason(|t| t.cycles, &cycles),
            _ => unreachable!(),
        }
    };
    let phase = |phases: Option<Totals>| match (phases, ecx) {
        (Some(phases), 0) => [0, high(phases.guest), low(phases.guest), 0],
        (Some(phases), 1..=8) => {
            let cycles = phases.spent.0[ecx as usize - 1];
            [0, high(cycles), low(cycles), 0]
        }
        _ => UNDEFINED,
    };
    match eax & 0xff {
        0x00 => [
            0x4fff_ffff,
            u32::from_le_bytes(*b"KVME"),
            u32::from_le_bytes(*b"xitP"),
            u32::from_le_bytes(*b"rof\0"),
        ],
        0x01 => [
            0x0100_0003 | (vcpu.isa as u32) << 16,
            1 | (vcpu.kernel as u32) << 8,
            vcpu.identity.epoch,
            50_000,
        ],
        0x06 => phase(vcpu.phases),
        0xe6 => phase(vcpu.held.as_ref().and(vcpu.held_phases)),
        leaf @ (0x02 | 0x04 | 0x05 | 0xfc..=0xff) => {
            figure(leaf & 0xf, vcpu.identity, &vcpu.live.0)
        }
        0xe0 => match ecx {
            0 => [0, vcpu.taken, 0, 0],
            1 => [1, vcpu.taken.wrapping_add(1), 0, 0],
            2 => [vcpu.held.is_some().into(), vcpu.taken, 0, 0],
            _ => UNDEFINED,
        },
        leaf @ (0xe2 | 0xe4 | 0xe5 | 0xec..=0xef) => match &vcpu.held {
            Some((identity, counts)) => figure(leaf & 0xf, *identity, &counts.0),
            None => UNDEFINED,
        },
        _ => ZEROS,
    }
}

proptest! {
    #[test]
    fn every_leaf_answers_by_its_rule(vcpu in any_vcpu(), ecx in any_reason(), small in 0u32..10) {
        for eax in 0x4fff_ff00..=0x4fff_ffff {
            for ecx in [ecx, small] {
                let answer = vcpu.clone().cpuid(eax, ecx);
                prop_assert_eq!(answer, rule(&vcpu, eax, ecx), "{:#x} {:#x}", eax, ecx);
            }
        }
    }

    #[test]
    fn halves_join_to_what_was_split(value: u64) {
        let (low, high) = leaf::split(value);
        prop_assert_eq!(leaf::join(low, high), value);
        prop_assert_eq!((low, high), (value as u32, (value >> 32) as u32));
    }

    #[test]
    fn identities_are_read_as_they_are_written(identity in any_identity()) {
        let registers = Registers::from(identity);
        prop_assert_eq!(Identity::from(registers), identity);
        prop_assert_eq!(registers.edx, 0);
    }

    #[test]
    fn protocols_are_read_as_they_are_written(
        version in any::<u16>(),
        [isa, scope, features, kernel] in any::<[u8; 4]>(),
        [epoch, tsc_khz] in any::<[u32; 2]>(),
    ) {
        let protocol = Protocol { version, isa, scope, features, kernel, epoch, tsc_khz };
        prop_assert_eq!(Protocol::from(Registers::from(protocol)), protocol);
    }

    #[test]
    fn every_answer_can_be_decoded(vcpu in any_vcpu(), ecx in any_reason(), small in 0u32..10) {
        for eax in 0x4fff_ff00..=0x4fff_ffff {
            for ecx in [ecx, small] {
                let query = Query::new(eax, ecx).unwrap();
                let answer = query.answer(&mut vcpu.clone());
                prop_assert_eq!(query.decode(answer.into()), answer, "{:#x} {:#x}", eax, ecx);
            }
        }
    }

    #[test]
    fn reasons_and_what_they_hide_add_up(mut vcpu in any_vcpu()) {
        let isa = vcpu.isa;
        let mut read = |eax, ecx| {
            let query = Query::new(eax, ecx).unwrap();
            query.decode(Registers::from(query.answer(&mut vcpu)))
        };
        let (mut exits, mut cycles) = match read(leaf::HIDDEN, 0) {
            Answer::Both(exits, cycles) => (exits, cycles),
            other => panic!("{other:?}"),
        };
        for reason in (0..isa.slots()).filter_map(|slot| isa.reason(slot)) {
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

    /// And the untimed of all handled reasons are those of the total, but for the hidden.
    #[test]
    fn untimed_exits_and_what_is_hidden_add_up(mut vcpu in any_vcpu()) {
        let isa = vcpu.isa;
        let mut untimed = vcpu.live.hidden(isa, vcpu.kernel).untimed;
        let status = |reason| isa.status(vcpu.kernel, reason);
        let handled = rules(isa).defined().filter(|&reason| status(reason) == Status::Handled);
        for reason in handled.collect::<Vec<_>>() {
            let query = Query::new(leaf::UNTIMED, reason).unwrap();
            match query.decode(query.answer(&mut vcpu).into()) {
                Answer::Exits(n) => untimed = untimed.wrapping_add(n),
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(untimed, vcpu.live.total().untimed);
    }
}

/// An answer of all registers may look like that of what is not there.
#[test]
fn what_is_hidden_now_is_never_undefined() {
    let mut vcpu = Vcpu::zeros(Isa::Vmx);
    vcpu.live.0[33].cycles = 0xffff_ffff_0000_0000;
    let query = Query::new(leaf::HIDDEN, 0).unwrap();
    let answer = query.answer(&mut vcpu);
    assert_eq!(answer, Answer::Both(0, 0xffff_ffff_0000_0000));
    assert_eq!(query.decode(answer.into()), answer);
}
