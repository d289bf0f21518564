// SPDX-License-Identifier: GPL-2.0

//! Exit reasons: which there are, their names, and their slots.

mod common;

use common::{all, any_reason, rules, SVM, VMX};
use profile::{
    isa::Isa,
    reason::{Kernel, Status},
};
use proptest::prelude::*;

const ISAS: [Isa; 2] = [Isa::Vmx, Isa::Svm];
const KERNELS: [Kernel; 2] = [Kernel::V6_1, Kernel::V7_3];

#[test]
fn reasons_are_treated_as_the_rules_say() {
    for rules in [VMX, SVM] {
        for (ranges, old, new) in [
            (rules.handled, Status::Handled, Status::Handled),
            (rules.newer, Status::Unhandled, Status::Handled),
            (rules.unhandled, Status::Unhandled, Status::Unhandled),
            (rules.undefined, Status::Undefined, Status::Undefined),
        ] {
            for reason in all(ranges) {
                let status = |kernel| rules.isa.status(kernel, reason);
                let both = [status(Kernel::V6_1), status(Kernel::V7_3)];
                assert_eq!(both, [old, new], "{:?} {reason:#x}", rules.isa);
            }
        }
    }
}

#[test]
fn the_newest_of_vmx_are_defined_with_gaps() {
    let defined = [80, 81, 84, 85];
    for reason in 80..=100 {
        let status = match defined.contains(&reason) {
            true => Status::Unhandled,
            false => Status::Undefined,
        };
        let got = Isa::Vmx.status(Kernel::V6_1, reason);
        assert_eq!(got, status, "{reason}");
    }
    assert_eq!(
        defined.map(|reason| Isa::Vmx.name(reason).to_string()),
        ["URDMSR", "UWRMSR", "MSR_READ_IMM", "MSR_WRITE_IMM"]
    );
}

/// What a guest sees is what was recorded for that number, and no other.
#[test]
fn numbers_and_slots_are_one_to_one() {
    for rules in [VMX, SVM] {
        let isa = rules.isa;
        let mut slots = Vec::new();
        for reason in rules.defined() {
            assert_eq!(isa.reason(isa.slot(reason)), Some(reason), "{reason:#x}");
            slots.push(isa.slot(reason));
        }
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), rules.defined().count(), "{isa:?}");
        assert_eq!(isa.reason(isa.slots() - 1), None);
        assert_eq!(isa.reason(isa.slots()), None);
        assert_eq!(isa.reason(usize::MAX), None);
    }
    assert_eq!((Isa::Vmx.slots(), Isa::Svm.slots()), (87, 203));
    assert_eq!(Isa::MAX_SLOTS, 203);
    assert_eq!(Isa::Vmx.slot(48), 48);
    assert_eq!(Isa::Svm.slot(0x72), 0x72);
}

#[test]
fn slots_are_handled_where_their_reason_is() {
    for (isa, kernel) in ISAS
        .iter()
        .flat_map(|&isa| KERNELS.map(|kernel| (isa, kernel)))
    {
        let status = |reason| rules(isa).status(kernel, reason);
        let want: Vec<usize> = (0..isa.slots())
            .filter(|&slot| isa.reason(slot).map(status) == Some(Status::Handled))
            .collect();
        let mut got = Vec::new();
        isa.each_handled_slot(kernel, |slot| got.push(slot));
        assert_eq!(got, want, "{isa:?} {kernel:?}");
    }
}

#[test]
fn kernels_have_numbers_and_unknown_ones_are_the_newest() {
    for kernel in KERNELS {
        assert_eq!(Kernel::from_number(kernel as u8), kernel);
    }
    assert_eq!(Kernel::from_number(255), Kernel::NEWEST);
    assert_eq!(KERNELS.iter().max(), Some(&Kernel::NEWEST));
}

#[test]
fn instruction_sets_have_numbers() {
    let isas = [0, 1, 2, 3, 255].map(Isa::from_number);
    assert_eq!(isas, [None, Some(Isa::Vmx), Some(Isa::Svm), None, None]);
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

fn has_a_slot_and_a_name(isa: Isa, reason: u32) {
    let slot = isa.slot(reason);
    assert!(slot < isa.slots(), "{reason:#x}");
    let counted = isa.reason(slot);
    assert!(
        counted.is_none() || counted == Some(reason),
        "{reason:#x} as {counted:x?}"
    );
    for kernel in KERNELS {
        let status = isa.status(kernel, reason);
        assert!(
            counted.is_some() || status == Status::Undefined,
            "{reason:#x}"
        );
        assert_eq!(status, rules(isa).status(kernel, reason), "{reason:#x}");
    }
    assert!(!isa.name(reason).to_string().is_empty(), "{reason:#x}");
}

/// Those around the ends of all ranges are among them.
#[test]
fn reasons_in_and_near_ranges_have_a_slot_and_a_name() {
    let small = 0..=0x1000;
    let software = 0x7fff_ff00..=0x8000_0100;
    let negative = 0xffff_ff00..=u32::MAX;
    for reason in small.chain(software).chain(negative) {
        for isa in ISAS {
            has_a_slot_and_a_name(isa, reason);
        }
    }
}

proptest! {
    #[test]
    fn any_reason_has_a_slot_and_a_name(reason in any_reason()) {
        for isa in ISAS {
            has_a_slot_and_a_name(isa, reason);
        }
    }
}
