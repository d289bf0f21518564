// SPDX-License-Identifier: GPL-2.0

//! What tells exits of a reason apart, as far as kvm_exit has it.

use super::memory::SLOTS;
use profile::{detail::Kind, isa::Isa};

/// The fields of kvm_exit, by their numbers in the program.
const INFO1: u32 = 1;
const INTR_INFO: u32 = 2;
/// The page in info2, and bits of info1.
const PAGE: u32 = 3;

/// The details that kvm_exit has: their kind, field and bits, of which the module passes the same.
fn all(isa: Isa) -> &'static [(Kind, u32, u32)] {
    match isa {
        Isa::Vmx => &[
            (Kind::Exception, INTR_INFO, 0xff),
            (Kind::Interrupt, INTR_INFO, 0xff),
            (Kind::Cr, INFO1, 0x3f),
            (Kind::Dr, INFO1, 0x17),
            (Kind::Io, INFO1, 0xffff_003f),
            (Kind::ApicAccess, INFO1, 0xffff),
            (Kind::Eoi, INFO1, 0xffff),
            (Kind::ApicWrite, INFO1, 0xffff),
        ],
        // An access to the APIC has its direction in a bit that does not fit here.
        Isa::Svm => &[
            (Kind::Io, INFO1, 0xffff_007d),
            (Kind::PageFault, PAGE, 0x12),
            (Kind::Ipi, INFO1, 0xf_ffff),
        ],
    }
}

/// The kinds of details that are counted.
pub fn kinds(isa: Isa) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = all(isa).iter().map(|&(kind, ..)| kind).collect();
    kinds.sort();
    kinds
}

/// For the program: field and bits by slot.
pub fn of_slots(isa: Isa) -> [u32; 2 * SLOTS] {
    let mut fields = [0; 2 * SLOTS];
    for &(kind, field, bits) in all(isa) {
        if let Some(slot) = kind
            .reason(isa)
            .and_then(|reason| isa.own_slot(reason.into()))
        {
            fields[2 * slot] = field;
            fields[2 * slot + 1] = bits;
        }
    }
    fields
}

/// The kind of the details that the program counts of `reason`.
pub fn kind(isa: Isa, reason: Option<u32>) -> Option<Kind> {
    let kinds = all(isa).iter().map(|&(kind, ..)| kind);
    kinds
        .into_iter()
        .find(|kind| kind.reason(isa) == reason && reason.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_reason_of_its_own() {
        for isa in [Isa::Vmx, Isa::Svm] {
            let fields = of_slots(isa);
            let counted = fields.chunks(2).filter(|field| field[0] != 0).count();
            assert_eq!(counted, kinds(isa).len());
            for found in kinds(isa) {
                assert_eq!(kind(isa, found.reason(isa)), Some(found));
            }
        }
        assert_eq!(kind(Isa::Svm, None), None);
    }
}
