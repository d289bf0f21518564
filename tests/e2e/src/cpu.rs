// SPDX-License-Identifier: GPL-2.0
//! The CPU that the tests run on, and the numbers that its exits have.

use kvm_exitprof::profile::reason::Isa;
use std::fs;
use std::sync::OnceLock;

/// Its instruction set for virtualization.
///
/// # Panics
///
/// If it has none, which [`Host::new`](crate::module::Host::new) does not allow.
pub fn isa() -> Isa {
    find().expect("VMX or SVM")
}

/// The same, if it has one.
pub fn find() -> Option<Isa> {
    static ISA: OnceLock<Option<Isa>> = OnceLock::new();
    *ISA.get_or_init(|| {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flag = |name| cpu.split_whitespace().any(|word| word == name);
        match (flag("vmx"), flag("svm")) {
            (true, _) => Some(Isa::Vmx),
            (_, true) => Some(Isa::Svm),
            _ => None,
        }
    })
}

/// Whether exits are VMX's, not SVM's.
pub fn is_vmx() -> bool {
    isa() == Isa::Vmx
}

/// An exit reason that both have: VMX's basic exit reason, SVM's exit code.
#[derive(Clone, Copy, Debug)]
pub struct Reason(pub u32, pub u32);

impl Reason {
    /// Its number on this CPU.
    pub fn number(self) -> u32 {
        if is_vmx() { self.0 } else { self.1 }
    }
}

/// Interception of #UD, which VMX has among all exceptions and NMIs.
pub const UD: Reason = Reason(0, 0x46);
pub const INTERRUPT: Reason = Reason(1, 0x60);
pub const SHUTDOWN: Reason = Reason(2, 0x7f);
pub const CPUID: Reason = Reason(10, 0x72);
pub const HYPERCALL: Reason = Reason(18, 0x81);
pub const DR_READ: Reason = Reason(29, 0x20);
pub const IO: Reason = Reason(30, 0x7b);
/// SVM has reads among them.
pub const MSR_WRITE: Reason = Reason(32, 0x7c);
pub const WBINVD: Reason = Reason(54, 0x89);
