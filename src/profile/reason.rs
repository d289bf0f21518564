// SPDX-License-Identifier: GPL-2.0

//! The exit reasons: which there are, what they are called, who handles them.

use core::{fmt, iter::successors};

/// How the architecture and KVM treat an exit reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// KVM has a handler for it (`kvm_vmx_exit_handlers[]` in `vmx/vmx.c`).
    Handled,
    /// The SDM defines it, but KVM has no handler for it.
    Unhandled,
    /// The SDM does not define it.
    Undefined,
}

use Status::{Handled, Unhandled};

/// VMX's basic exit reasons by number, as of Linux 6.1; `None` is undefined.
///
/// Numbers: SDM, appendix "VMX Basic Exit Reasons". Names: the kernel's
/// `uapi/asm/vmx.h`, where it has them. `scripts/check-reasons.sh` compares
/// both columns with the kernel's source.
const VMX: [Option<(&str, Status)>; 80] = [
    Some(("EXCEPTION_NMI", Handled)),
    Some(("EXTERNAL_INTERRUPT", Handled)),
    Some(("TRIPLE_FAULT", Handled)),
    Some(("INIT_SIGNAL", Unhandled)),
    Some(("SIPI_SIGNAL", Unhandled)),
    Some(("IO_SMI", Unhandled)),
    Some(("OTHER_SMI", Unhandled)),
    Some(("INTERRUPT_WINDOW", Handled)),
    Some(("NMI_WINDOW", Handled)),
    Some(("TASK_SWITCH", Handled)),
    Some(("CPUID", Handled)), // 10
    Some(("GETSEC", Unhandled)),
    Some(("HLT", Handled)),
    Some(("INVD", Handled)),
    Some(("INVLPG", Handled)),
    Some(("RDPMC", Handled)),
    Some(("RDTSC", Unhandled)),
    Some(("RSM", Unhandled)),
    Some(("VMCALL", Handled)),
    Some(("VMCLEAR", Handled)),
    Some(("VMLAUNCH", Handled)), // 20
    Some(("VMPTRLD", Handled)),
    Some(("VMPTRST", Handled)),
    Some(("VMREAD", Handled)),
    Some(("VMRESUME", Handled)),
    Some(("VMWRITE", Handled)),
    Some(("VMOFF", Handled)),
    Some(("VMON", Handled)),
    Some(("CR_ACCESS", Handled)),
    Some(("DR_ACCESS", Handled)),
    Some(("IO_INSTRUCTION", Handled)), // 30
    Some(("MSR_READ", Handled)),
    Some(("MSR_WRITE", Handled)),
    Some(("INVALID_STATE", Unhandled)),
    Some(("MSR_LOAD_FAIL", Unhandled)),
    None,
    Some(("MWAIT_INSTRUCTION", Handled)),
    Some(("MONITOR_TRAP_FLAG", Handled)),
    None,
    Some(("MONITOR_INSTRUCTION", Handled)),
    Some(("PAUSE_INSTRUCTION", Handled)), // 40
    Some(("MCE_DURING_VMENTRY", Handled)),
    None,
    Some(("TPR_BELOW_THRESHOLD", Handled)),
    Some(("APIC_ACCESS", Handled)),
    Some(("EOI_INDUCED", Handled)),
    Some(("GDTR_IDTR", Handled)),
    Some(("LDTR_TR", Handled)),
    Some(("EPT_VIOLATION", Handled)),
    Some(("EPT_MISCONFIG", Handled)),
    Some(("INVEPT", Handled)), // 50
    Some(("RDTSCP", Unhandled)),
    Some(("PREEMPTION_TIMER", Handled)),
    Some(("INVVPID", Handled)),
    Some(("WBINVD", Handled)),
    Some(("XSETBV", Handled)),
    Some(("APIC_WRITE", Handled)),
    Some(("RDRAND", Handled)),
    Some(("INVPCID", Handled)),
    Some(("VMFUNC", Handled)),
    Some(("ENCLS", Handled)), // 60
    Some(("RDSEED", Handled)),
    Some(("PML_FULL", Handled)),
    Some(("XSAVES", Unhandled)),
    Some(("XRSTORS", Unhandled)),
    Some(("PCONFIG", Unhandled)),
    Some(("SPP_EVENT", Unhandled)),
    Some(("UMWAIT", Unhandled)),
    Some(("TPAUSE", Unhandled)),
    Some(("LOADIWKEY", Unhandled)),
    Some(("ENCLV", Unhandled)), // 70
    None,
    Some(("ENQCMD", Unhandled)),
    Some(("ENQCMDS", Unhandled)),
    Some(("BUS_LOCK", Handled)),
    Some(("NOTIFY", Handled)),
    Some(("SEAMCALL", Unhandled)),
    Some(("TDCALL", Unhandled)),
    Some(("RDMSRLIST", Unhandled)),
    Some(("WRMSRLIST", Unhandled)),
];

/// The instruction set whose exits are profiled; its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// Intel's VMX.
    Vmx = 1,
}

impl Isa {
    /// The number of counters that a profile needs: one for each number of the
    /// table, defined or not, and a last one for all other numbers.
    pub const fn slots(self) -> usize {
        match self {
            Isa::Vmx => VMX.len() + 1,
        }
    }

    /// The counter of `reason`, which may be any number: below [`slots`].
    ///
    /// [`slots`]: Isa::slots
    #[inline(always)]
    pub fn slot(self, reason: u32) -> usize {
        reason.min(self.slots() as u32 - 1) as usize
    }

    /// The reason that `slot` counts; `None` for the one of all other numbers.
    pub fn reason(self, slot: usize) -> Option<u32> {
        u32::try_from(slot).ok().filter(|_| slot < self.slots() - 1)
    }

    fn entry(self, reason: u32) -> Option<(&'static str, Status)> {
        match self {
            Isa::Vmx => *VMX.get(usize::try_from(reason).ok()?)?,
        }
    }

    /// How `reason`, which may be any number, is treated.
    pub fn status(self, reason: u32) -> Status {
        self.entry(reason)
            .map_or(Status::Undefined, |(_, status)| status)
    }

    /// What `reason`, which may be any number, is called: prints as the
    /// kernel's name for it, or as `UNKNOWN(n)`.
    pub fn name(self, reason: u32) -> Name {
        Name(self.entry(reason).map(|(name, _)| name), reason)
    }
}

/// An exit reason's name: see [`Isa::name`].
#[derive(Clone, Copy, Debug)]
pub struct Name(Option<&'static str>, u32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Name(Some(name), _) => f.pad(name),
            Name(None, reason) => {
                let digits = successors(Some(reason), |n| Some(n / 10).filter(|&n| n > 0)).count();
                let length = "UNKNOWN()".len().saturating_add(digits);
                let padding = f.width().unwrap_or(0).saturating_sub(length);
                write!(f, "UNKNOWN({reason}){:padding$}", "")
            }
        }
    }
}
