// SPDX-License-Identifier: GPL-2.0
//! The CPU that the tests run on: its instruction set for virtualization, the numbers
//! of its exit reasons, and its features.

use kvm_bindings::kvm_cpuid_entry2;
pub use profile::isa::Isa;
pub use profile::reason::{Kernel, Status};
use std::fs;
use std::sync::OnceLock;

/// The CPU's instruction set for virtualization.
///
/// # Panics
///
/// If there is none. The host's tests do not begin then.
pub fn isa() -> Isa {
    find_isa().expect("VMX or SVM")
}

static ISA: OnceLock<Option<Isa>> = OnceLock::new();

/// Assumes `isa`, on a machine that runs no test.
pub fn assume(isa: Isa) {
    ISA.get_or_init(|| Some(isa));
}

/// The instruction set, if there is one.
pub fn find_isa() -> Option<Isa> {
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

/// A version of Linux, such as (6, 1).
pub type Version = (u32, u32);

/// The version of the host's kernel.
pub fn linux() -> Version {
    static LINUX: OnceLock<Version> = OnceLock::new();
    *LINUX.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut numbers = release.split('.').map_while(|number| number.parse().ok());
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next())
    })
}

/// The host's kernel, as far as KVM's handlers differ.
pub fn kernel() -> Kernel {
    match linux() {
        (7.., _) => Kernel::V7_3,
        _ => Kernel::V6_1,
    }
}

pub fn is_vmx() -> bool {
    isa() == Isa::Vmx
}

/// Chooses by instruction set.
pub fn pick<T>(vmx: T, svm: T) -> T {
    match isa() {
        Isa::Vmx => vmx,
        Isa::Svm => svm,
    }
}

/// Whether this is a CPU of QEMU's emulator.
pub fn is_qemu() -> bool {
    const HYPERVISOR: u32 = 0x4000_0000;
    // SAFETY: every CPU that has KVM has the instruction.
    #[allow(unused_unsafe)] // Later compilers declare it safe.
    let leaf = unsafe { core::arch::x86_64::__cpuid(HYPERVISOR) };
    let signature = [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes);
    signature.concat() == b"TCGTCGTCGTCG"
}

/// The reasons with that status in the model's table, whose own tests check the table.
pub fn reasons(status: Status) -> Vec<u32> {
    let isa = isa();
    let numbers = (0..isa.slots()).filter_map(|slot| isa.reason(slot));
    numbers
        .filter(|&n| isa.status(kernel(), n) == status)
        .collect()
}

/// An exit reason of both instruction sets: VMX's basic exit reason, SVM's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub u32, pub u32);

impl Reason {
    /// Its number on this CPU.
    pub fn number(self) -> u32 {
        pick(self.0, self.1)
    }
}

/// #UD, which VMX counts with all exceptions and NMIs.
pub const UD: Reason = Reason(0, 0x46);
pub const INTERRUPT: Reason = Reason(1, 0x60);
pub const SHUTDOWN: Reason = Reason(2, 0x7f);
pub const CPUID: Reason = Reason(10, 0x72);
pub const HLT: Reason = Reason(12, 0x78);
pub const HYPERCALL: Reason = Reason(18, 0x81);
pub const DR_READ: Reason = Reason(29, 0x20);
pub const IO: Reason = Reason(30, 0x7b);
/// SVM counts reads with it.
pub const MSR_WRITE: Reason = Reason(32, 0x7c);
pub const WBINVD: Reason = Reason(54, 0x89);

/// A bit of CPUID that says what the CPU can do.
#[derive(Clone, Copy)]
pub struct Feature {
    pub name: &'static str,
    function: u32,
    register: fn(&mut kvm_cpuid_entry2) -> &mut u32,
    bit: u32,
}

impl Feature {
    /// Whether the bit is set in `entries`.
    pub fn is_in(&self, entries: &[kvm_cpuid_entry2]) -> bool {
        let mut entries = entries.iter().filter(|e| e.function == self.function);
        entries.any(|&(mut e)| *(self.register)(&mut e) >> self.bit & 1 == 1)
    }

    /// Clears the bit, if it is in `entry`.
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
