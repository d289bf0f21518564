// SPDX-License-Identifier: GPL-2.0
//! The catalog of workloads.
//!
//! One line is one test: `count.NAME` does an operation that many times, and checks
//! that leaf 0x4FFFFFFE of the reason grew by exactly that, and that the tracepoint
//! kvm_exit fired as often with it.

use super::workload::{Exit, K, Need, Workload, exact};
use crate::vmm::cpu::{INVPCID, RDRAND, UMIP, XSAVE};
use crate::vmm::{Op, Vm, layout};
use anyhow::Result;

use Exit::{Both, Svm, Vmx};

/// The workload of that name.
pub fn find(name: &str) -> &'static Workload {
    let mut named = CATALOG.iter().filter(|workload| workload.name == name);
    named.next().expect("a name in the catalog")
}

/// Runs all workloads that need no other parameters of the modules, each in its own VM.
pub fn run_all() -> Result<Vec<Vm>> {
    let workloads = CATALOG.iter().filter(|workload| workload.runs());
    let run = |workload: &Workload| {
        let mut vm = workload.prepare()?;
        vm.run(&workload.program())?;
        Ok(vm)
    };
    workloads.map(run).collect()
}

pub const CATALOG: &[Workload] = &[
    exact("cpuid", Both(10, 0x72), Op::Cpuid),
    exact("hlt", Both(12, 0x78), Op::Hlt),
    // An interrupt waits, so that the vCPU does not halt.
    exact("hlt_pending", Both(12, 0x78), Op::HltPending)
        .before(Op::EnableX2apic)
        .irqchip()
        .reenters((6, 12), (6, 12)),
    exact("hypercall", Both(18, 0x81), Op::Vmcall),
    exact("exception", Both(0, 0x46), Op::Ud2),
    exact("out", Both(30, 0x7b), Op::Out),
    exact("in", Both(30, 0x7b), Op::In),
    exact("outl", Both(30, 0x7b), Op::Outl),
    exact("inl", Both(30, 0x7b), Op::Inl),
    exact("outsw", Both(30, 0x7b), Op::Outsw),
    exact("insl", Both(30, 0x7b), Op::Insl),
    // Five items go out one by one, or come in at once. KVM then repeats the
    // instruction with a count of zero, for which the emulators exit again.
    exact("rep_outsb", Both(30, 0x7b), Op::RepOutsb).want(5 * K, 6 * K),
    exact("rep_outsl", Both(30, 0x7b), Op::RepOutsl).want(5 * K, 6 * K),
    exact("rep_insb", Both(30, 0x7b), Op::RepInsb).want(K, 2 * K),
    exact("rep_insw", Both(30, 0x7b), Op::RepInsw).want(K, 2 * K),
    exact("rdmsr_apic_base", Both(31, 0x7c), Op::Rdmsr).arg(0x1b),
    exact("wrmsr_ucode", Both(32, 0x7c), Op::WrmsrZero).arg(0x79),
    exact("wrmsr_refused", Both(32, 0x7c), Op::WrmsrRefused).arg(0x1a0),
    // KVM handles it in its fast path, from which earlier kernels do not re-enter the guest.
    exact("x2apic_icr", Both(32, 0x7c), Op::X2apicIcr)
        .before(Op::EnableX2apic)
        .irqchip()
        .reenters((6, 12), (6, 12)),
    exact("cr0_am", Both(28, 0x65), Op::Cr0Am),
    exact("lmsw", Vmx(28), Op::Lmsw),
    exact("cr4_mce", Both(28, 0x14), Op::Cr4Mce),
    // Without an irqchip in the kernel, there is no TPR shadow.
    exact("cr8_read", Vmx(28), Op::Cr8Read).before(Op::EnterLongMode),
    exact("cr8_write", Both(28, 0x18), Op::Cr8Write).before(Op::EnterLongMode),
    // With one, a write exits only if it lets a waiting interrupt in.
    exact("tpr_below_threshold", Vmx(43), Op::Cr8Lower)
        .before(Op::EnterLongMode)
        .irqchip(),
    // An interrupt between the exit and the instruction's second attempt takes the
    // registers from the guest again.
    exact("dr_read", Both(29, 0x20), Op::MovFromDr).interruptible(),
    exact("dr_write", Both(29, 0x30), Op::MovToDr).interruptible(),
    exact("wbinvd", Both(54, 0x89), Op::Wbinvd),
    exact("invd", Both(13, 0x76), Op::Invd).reenters((7, 3), (7, 3)),
    exact("rdpmc", Both(15, 0x6f), Op::Rdpmc),
    exact("rdrand", Vmx(57), Op::Rdrand).without(RDRAND),
    exact("monitor", Both(39, 0x8a), Op::Monitor),
    exact("mwait", Both(36, 0x8b), Op::Mwait),
    exact("xsetbv", Both(55, 0x8d), Op::Xsetbv)
        .before(Op::Osxsave)
        .needs(Need::Cpu(XSAVE)),
    // KVM emulates UMIP on CPUs without it by intercepting these.
    exact("gdtr_idtr", Vmx(46), Op::GdtrIdtr)
        .want(4 * K, 4 * K)
        .before(Op::Cr4Umip)
        .needs(Need::Cpu(UMIP)),
    exact("ldtr_tr", Vmx(47), Op::LdtrTr)
        .want(3 * K, 3 * K)
        .before(Op::Cr4Umip)
        .needs(Need::Cpu(UMIP)),
    // SVM has this exit, too, but QEMU does not emulate it.
    exact("task_switch", Vmx(9), Op::TaskSwitch),
    exact("ept_violation", Both(48, 0x400), Op::Touch).arg(layout::UNTOUCHED),
    // The first read finds no mapping. KVM then makes one that is invalid on purpose,
    // which the others find. SVM has one reason for both.
    exact("unbacked_first", Vmx(48), Op::Load)
        .arg(layout::UNBACKED)
        .want(1, 1),
    exact("unbacked_again", Vmx(49), Op::Load)
        .arg(layout::UNBACKED)
        .want(K - 1, K - 1),
    exact("unbacked", Svm(0x400), Op::Load).arg(layout::UNBACKED),
    exact("interrupt_window", Both(7, 0x64), Op::IrqWindow),
    exact("nmi_window", Vmx(8), Op::Nmis).needs(Need::Parameter("vnmi")),
    // SVM has no NMI window: KVM waits for the end of each handler.
    exact("nmi_iret", Svm(0x74), Op::Nmis).want(2 * K, 2 * K),
    exact("pause_loop", Both(40, 0x77), Op::Spin)
        .arg(200)
        .want(1, 1000 * K)
        .needs(Need::PauseLoopExits),
    // Until Linux 7.3, the fast path needs VMX's preemption timer.
    exact("tsc_deadline", Both(32, 0x7c), Op::WrmsrZero)
        .arg(0x6e0)
        .irqchip()
        .needs(Need::DeadlineTimer)
        .reenters((6, 1), (7, 3)),
    // The interrupt that is due makes KVM leave the fast path half-way.
    exact("tsc_deadline_past", Both(32, 0x7c), Op::PastDeadline)
        .irqchip()
        .needs(Need::DeadlineTimer),
    // A deadline may have passed before KVM sets its timer.
    exact("preemption_timer", Vmx(52), Op::Deadline)
        .arg(20_000)
        .want(1, K)
        .irqchip()
        .needs(Need::DeadlineTimer),
    exact("vmclear", Vmx(19), Op::Vmclear),
    exact("vmlaunch", Vmx(20), Op::Vmlaunch),
    exact("vmptrld", Vmx(21), Op::Vmptrld),
    exact("vmptrst", Vmx(22), Op::Vmptrst),
    exact("vmread", Vmx(23), Op::Vmread),
    exact("vmresume", Vmx(24), Op::Vmresume),
    exact("vmwrite", Vmx(25), Op::Vmwrite),
    exact("vmxoff", Vmx(26), Op::Vmxoff),
    exact("vmxon", Vmx(27), Op::Vmxon),
    exact("invept", Vmx(50), Op::Invept),
    exact("invvpid", Vmx(53), Op::Invvpid),
    // Later kernels disable VMFUNC: it is #UD, which does not exit for it.
    exact("vmfunc", Vmx(59), Op::Vmfunc).since((6, 12), 0),
    exact("vmrun", Svm(0x80), Op::Vmrun),
    exact("vmload", Svm(0x82), Op::Vmload),
    exact("vmsave", Svm(0x83), Op::Vmsave),
    exact("stgi", Svm(0x84), Op::Stgi),
    exact("clgi", Svm(0x85), Op::Clgi),
    exact("skinit", Svm(0x86), Op::Skinit),
    exact("invlpga", Svm(0x7a), Op::Invlpga),
    exact("rsm", Svm(0x73), Op::Rsm),
    exact("page_fault", Both(0, 0x4e), Op::Touch)
        .arg(layout::UNTOUCHED)
        .shadow_paging(),
    // As task_switch: SVM has this exit, too, but QEMU does not emulate it.
    exact("cr3_read", Vmx(28), Op::Cr3Read).shadow_paging(),
    exact("cr3_write", Both(28, 0x13), Op::Cr3Write).shadow_paging(),
    exact("invlpg", Both(14, 0x79), Op::Invlpg).shadow_paging(),
    exact("invpcid", Both(58, 0xa2), Op::Invpcid)
        .shadow_paging()
        .needs(Need::Cpu(INVPCID)),
    exact("cr3_paging_off", Vmx(28), Op::Cr3Write).params("unrestricted_guest=0", ""),
    // The LAPIC is then a device like any other: see unbacked_again.
    exact("apic_mmio", Vmx(49), Op::Load)
        .arg(0xfee0_0030)
        .want(K - 1, K - 1)
        .irqchip()
        .params("flexpriority=0", ""),
    // Without APICv, KVM leaves the APIC-access page unmapped, and lets the guest try
    // each read twice before it emulates it. Later kernels emulate it at once.
    exact("apic_unmapped", Vmx(48), Op::Load)
        .arg(0xfee0_0030)
        .want(2 * K, 2 * K)
        .since((6, 12), K)
        .irqchip()
        .params("enable_apicv=0", "")
        .needs(Need::Parameter("flexpriority")),
];
