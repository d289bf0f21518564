// SPDX-License-Identifier: GPL-2.0

//! The exit reasons of an instruction set, as the tool goes through them.

use profile::{isa::Isa, reason::Status};

/// All reasons that have a counter of their own, defined or not.
pub fn all(isa: Isa) -> impl Iterator<Item = u32> {
    (0..isa.slots()).filter_map(move |slot| isa.reason(slot))
}

/// The reasons that the instruction set defines.
pub fn defined(isa: Isa) -> impl Iterator<Item = u32> {
    all(isa).filter(move |&reason| isa.status(reason) != Status::Undefined)
}

/// The reason of the exits that CPUID causes.
pub fn cpuid(isa: Isa) -> u32 {
    match isa {
        Isa::Vmx => 10,
        Isa::Svm => 0x72,
    }
}

/// What the vendor calls the instruction set.
pub fn set_name(isa: Isa) -> &'static str {
    match isa {
        Isa::Vmx => "VMX",
        Isa::Svm => "SVM",
    }
}
