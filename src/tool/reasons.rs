// SPDX-License-Identifier: GPL-2.0

//! Lists of an instruction set's exit reasons.

use profile::{
    isa::Isa,
    reason::{Kernel, Status},
};

/// All reasons that have a counter of their own, defined or not.
pub fn all(isa: Isa) -> impl Iterator<Item = u32> {
    (0..isa.slots()).filter_map(move |slot| isa.reason(slot))
}

/// The reasons that the instruction set defines.
pub fn defined(isa: Isa) -> impl Iterator<Item = u32> {
    all(isa).filter(move |&reason| isa.status(Kernel::NEWEST, reason) != Status::Undefined)
}

/// The reason of the exits that CPUID causes.
pub fn cpuid(isa: Isa) -> u32 {
    match isa {
        Isa::Vmx => 10,
        Isa::Svm => 0x72,
    }
}

/// The name of the instruction set.
pub fn set_name(isa: Isa) -> &'static str {
    match isa {
        Isa::Vmx => "VMX",
        Isa::Svm => "SVM",
    }
}
