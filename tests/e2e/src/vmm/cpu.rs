// SPDX-License-Identifier: GPL-2.0
//! The CPU that the tests run on, and the numbers that its exits have.

use kvm_bindings::kvm_cpuid_entry2;
use profile::{isa::Isa, reason::Status};
use std::fs;
use std::sync::OnceLock;

/// Its instruction set for virtualization.
///
/// # Panics
///
/// If it has none, which [`Host::new`](crate::host::module::Host::new) does not allow.
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

/// Whether it is one of QEMU's emulator.
pub fn is_qemus() -> bool {
    const HYPERVISOR: u32 = 0x4000_0000;
    // SAFETY: every CPU that has KVM has the instruction.
    #[allow(unused_unsafe)] // Later compilers know that.
    let leaf = unsafe { core::arch::x86_64::__cpuid(HYPERVISOR) };
    let signature = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    signature.concat() == b"TCGTCGTCGTCG"
}

/// The numbers in the model's table that are treated so. That the table is right
/// is for the model's own tests.
pub fn reasons(status: Status) -> Vec<u32> {
    let isa = isa();
    let numbers = (0..isa.slots()).filter_map(|slot| isa.reason(slot));
    numbers.filter(|&n| isa.status(n) == status).collect()
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

/// A bit of CPUID that says what a CPU can do.
#[derive(Clone, Copy)]
pub struct Feature {
    pub name: &'static str,
    function: u32,
    register: fn(&mut kvm_cpuid_entry2) -> &mut u32,
    bit: u32,
}

impl Feature {
    /// Whether `entries` have it.
    pub fn is_in(&self, entries: &[kvm_cpuid_entry2]) -> bool {
        let mut entries = entries.iter().filter(|e| e.function == self.function);
        entries.any(|&(mut e)| *(self.register)(&mut e) >> self.bit & 1 == 1)
    }

    /// Takes it away from `entry`, if that is its place.
    pub fn remove_from(&self, entry: &mut kvm_cpuid_entry2) {
        if entry.function == self.function {
            *(self.register)(entry) &= !(1 << self.bit);
        }
    }
}

macro_rules! features {
    ($($name:ident: $function:literal, $register:ident, $bit:literal;)+) => {
        $(pub const $name: Feature = Feature {
            name: stringify!($name),
            function: $function,
            register: |entry| &mut entry.$register,
            bit: $bit,
        };)+
    };
}

features! {
    XSAVE: 1, ecx, 26;
    RDRAND: 1, ecx, 30;
    INVPCID: 7, ebx, 10;
    UMIP: 7, ecx, 2;
}
