// SPDX-License-Identifier: GPL-2.0

//! VMX's basic exit reasons, as of Linux 6.1.

use super::reason::{
    Range,
    Status::{Handled, Unhandled},
};

/// VMX's basic exit reasons by number; `None` is undefined.
///
/// Numbers: SDM, appendix "VMX Basic Exit Reasons". Names: the kernel's
/// `uapi/asm/vmx.h`, where it has them. `scripts/check-reasons.sh` compares
/// both columns with the kernel's source.
pub(super) const RANGES: &[Range] = &[Range {
    first: 0,
    reasons: &[
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
    ],
}];
