// SPDX-License-Identifier: GPL-2.0

//! Details of exits: kinds, keys and names.

use profile::{
    detail::{code_of, with_slot, without_slot, Code, Kind, Kinds, KINDS},
    isa::Isa,
};
use proptest::prelude::*;

#[test]
fn kinds_have_numbers_and_names_of_their_own() {
    for (index, kind) in Kind::ALL.iter().enumerate() {
        assert_eq!(*kind as usize, index + 1);
        assert_eq!(Kinds::parse(kind.name()), Some(Kinds(1 << *kind as u32)));
    }
    assert_eq!(Kind::ALL.len() + 1, KINDS);
}

#[test]
fn sets_of_kinds_have_names() {
    let parsed = |names| Kinds::parse(names).map(|kinds| kinds.to_string());
    for (names, wanted) in [
        ("none", "none"),
        ("", "none"),
        ("io", "io"),
        ("msr\n", "rdmsr,wrmsr"),
        ("wrmsr,io,wrmsr", "io,wrmsr"),
        ("apic", "apic_access,apic_write,ipi,eoi"),
        (
            "all",
            "io,rdmsr,wrmsr,cpuid,cr,dr,exception,interrupt,hypercall,mmio,page_fault,\
             apic_access,apic_write,ipi,eoi",
        ),
    ] {
        assert_eq!(parsed(names).as_deref(), Some(wanted), "{names}");
    }
    for names in ["i", "IO", "io;msr", "io, msr", "ioport", "1"] {
        assert_eq!(parsed(names), None, "{names}");
    }
}

#[test]
fn kinds_of_later_modules_are_passed_over() {
    assert_eq!(Kinds::known("io,new,cpuid").to_string(), "io,cpuid");
    assert_eq!(Kinds::known("new"), Kinds::NONE);
}

/// Exit qualifications and EXITINFO1, as the manuals have them.
#[test]
fn both_vendors_have_the_same_keys() {
    let vmx = |kind: Kind, raw| kind.key(Isa::Vmx, raw);
    let svm = |kind: Kind, raw| kind.key(Isa::Svm, raw);
    // OUT of a byte to port 0x3f8; REP INSD from port 0x1f0.
    assert_eq!(vmx(Kind::Io, 0x3f8_0000), 0x1_03f8);
    assert_eq!(svm(Kind::Io, 0x3f8_0010), 0x1_03f8);
    let rep_insd = 0x1f0 | 4 << 16 | 1 << 19 | 1 << 20 | 1 << 21;
    assert_eq!(vmx(Kind::Io, 0x1f0_0000 | 3 | 8 | 0x10 | 0x20), rep_insd);
    assert_eq!(svm(Kind::Io, 0x1f0_0000 | 1 | 4 | 8 | 0x40), rep_insd);
    // A write, a read and a fetch of a page.
    assert_eq!(vmx(Kind::PageFault, 0xfee0_0002), 0xfee0_0002);
    assert_eq!(svm(Kind::PageFault, 0xfee0_0006), 0xfee0_0002);
    assert_eq!(svm(Kind::PageFault, 0xfee0_0004), 0xfee0_0001);
    assert_eq!(svm(Kind::PageFault, 0xfee0_0014), 0xfee0_0004);
    // A write to the APIC's register at 0xb0.
    assert_eq!(vmx(Kind::ApicAccess, 0x10b0), 0x10b0);
    assert_eq!(svm(Kind::ApicAccess, 1 << 32 | 0xb0), 0x10b0);
}

#[test]
fn each_kind_belongs_to_a_reason_with_its_name() {
    for (kind, vmx, svm) in [
        (Kind::Io, "IO_INSTRUCTION", "IOIO"),
        (Kind::Rdmsr, "MSR_READ", "MSR"),
        (Kind::Wrmsr, "MSR_WRITE", "MSR"),
        (Kind::Cpuid, "CPUID", "CPUID"),
        (Kind::Cr, "CR_ACCESS", ""),
        (Kind::Dr, "DR_ACCESS", ""),
        (Kind::Exception, "EXCEPTION_NMI", ""),
        (Kind::Interrupt, "EXTERNAL_INTERRUPT", ""),
        (Kind::Hypercall, "VMCALL", "VMMCALL"),
        (Kind::Mmio, "EPT_MISCONFIG", ""),
        (Kind::PageFault, "EPT_VIOLATION", "NPF"),
        (Kind::ApicAccess, "APIC_ACCESS", "AVIC_UNACCELERATED_ACCESS"),
        (Kind::ApicWrite, "APIC_WRITE", ""),
        (Kind::Ipi, "", "AVIC_INCOMPLETE_IPI"),
        (Kind::Eoi, "EOI_INDUCED", ""),
    ] {
        for (isa, name) in [(Isa::Vmx, vmx), (Isa::Svm, svm)] {
            let found = kind.reason(isa).map(|reason| isa.name(reason).to_string());
            assert_eq!(found.as_deref().unwrap_or(""), name, "{kind:?} of {isa:?}");
        }
    }
}

proptest! {
    /// Addresses of 48 bits, or of 57 with the highest ones the same.
    #[test]
    fn slots_fit_beside_addresses(
        bits: u64,
        cpl in 0u8..4,
        slot in 0..Isa::MAX_SLOTS,
        level in 1u8..=2,
    ) {
        let rip = ((bits << 16) as i64 >> 16) as u64;
        let key = Code::Exact.key(rip, cpl);
        prop_assert_eq!(without_slot(with_slot(key, slot, level)), (key, slot, level));
    }

    /// Addresses of 57 bits, as with 5-level paging.
    #[test]
    fn code_keeps_the_address_and_the_cpl(bits: u64, cpl in 0u8..4) {
        let rip = ((bits << 7) as i64 >> 7) as u64;
        prop_assert_eq!(code_of(Code::Exact.key(rip, cpl)), (rip, cpl));
        prop_assert_eq!(code_of(Code::Page.key(rip, cpl)), (rip & !0xfff, cpl));
    }
}
