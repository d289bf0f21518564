// SPDX-License-Identifier: GPL-2.0
//! The table of workloads: known numbers of known exits.
//!
//! One line is one test: `count.NAME` does an operation so many times and
//! demands that leaf 0x4FFFFFFE for the reason grew by exactly that.

use crate::guest::{Program, layout};
use crate::leaf::{Books, EXITS, exits};
use crate::module;
use crate::ops::Op;
use crate::runner::Skip;
use crate::vm::{Config, Vm};
use anyhow::{Result, ensure};
use kvm_ioctls::{Cap, Kvm};
use std::ops::RangeInclusive;

/// How often an operation is done: a prime, so that no factor hides.
const K: u32 = 23;

/// What the CPU or KVM must be capable of.
#[derive(Clone, Copy)]
pub enum Feature {
    Xsave,
    DeadlineTimer,
    PauseLoopExits,
}

/// A known number of exits of one reason.
#[derive(Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    reason: u32,
    op: Op,
    times: u32,
    arg: u32,
    /// By how much the count grows at least and at most.
    want: (u32, u32),
    /// Further exits that an interrupt in between may cause.
    interruptible: bool,
    irqchip: bool,
    /// Done once before counting begins.
    before: Option<Op>,
    needs: Option<Feature>,
}

/// `op` is done K times, and each time exits once for `reason`.
const fn exact(name: &'static str, reason: u32, op: Op) -> Workload {
    Workload {
        name,
        reason,
        op,
        times: K,
        arg: 0,
        want: (K, K),
        interruptible: false,
        irqchip: false,
        before: None,
        needs: None,
    }
}

impl Workload {
    const fn arg(self, arg: u32) -> Self {
        Self { arg, ..self }
    }

    const fn want(self, least: u32, most: u32) -> Self {
        let want = (least, most);
        Self { want, ..self }
    }

    const fn interruptible(self) -> Self {
        let interruptible = true;
        Self {
            interruptible,
            ..self
        }
    }

    const fn irqchip(self) -> Self {
        let irqchip = true;
        Self { irqchip, ..self }
    }

    const fn before(self, op: Op) -> Self {
        let before = Some(op);
        Self { before, ..self }
    }

    const fn needs(self, feature: Feature) -> Self {
        let needs = Some(feature);
        Self { needs, ..self }
    }
}

/// The table.
pub const WORKLOADS: &[Workload] = &[
    exact("cpuid", 10, Op::Cpuid),
    exact("hlt", 12, Op::Hlt),
    exact("vmcall", 18, Op::Vmcall),
    exact("out", 30, Op::Out),
    exact("in", 30, Op::In),
    // Five bytes go out one by one, or come in as one. KVM then has the
    // instruction repeated with a count of zero, for which Bochs exits again.
    exact("rep_outsb", 30, Op::RepOutsb).want(5 * K, 6 * K),
    exact("rep_insb", 30, Op::RepInsb).want(K, 2 * K),
    exact("rdmsr_apic_base", 31, Op::Rdmsr).arg(0x1b),
    exact("wrmsr_ucode", 32, Op::WrmsrZero).arg(0x79),
    exact("wrmsr_refused", 32, Op::WrmsrRefused).arg(0x1a0),
    exact("cr0_am", 28, Op::Cr0Am),
    exact("cr4_mce", 28, Op::Cr4Mce),
    exact("wbinvd", 54, Op::Wbinvd),
    exact("invd", 13, Op::Invd),
    // An interrupt between the exit and the instruction's second try takes
    // the registers away from the guest again.
    exact("mov_dr", 29, Op::MovDr).interruptible(),
    exact("rdpmc", 15, Op::Rdpmc),
    exact("monitor", 39, Op::Monitor),
    exact("mwait", 36, Op::Mwait),
    exact("xsetbv", 55, Op::Xsetbv)
        .before(Op::Osxsave)
        .needs(Feature::Xsave),
    exact("ept_violation", 48, Op::Touch).arg(layout::UNTOUCHED),
    // The first read finds no mapping; KVM then leaves one that is invalid on
    // purpose, which the others trip over.
    exact("unbacked_first", 48, Op::Load)
        .arg(layout::UNBACKED)
        .want(1, 1),
    exact("unbacked_again", 49, Op::Load)
        .arg(layout::UNBACKED)
        .want(K - 1, K - 1),
    exact("interrupt_window", 7, Op::IrqWindow),
    exact("pause_loop", 40, Op::Spin)
        .arg(200)
        .want(1, 1000 * K)
        .needs(Feature::PauseLoopExits),
    // KVM re-enters the guest at once from its fast path.
    exact("tsc_deadline", 32, Op::WrmsrZero)
        .arg(0x6e0)
        .irqchip()
        .needs(Feature::DeadlineTimer),
    // The interrupt that is due makes KVM leave the fast path half way.
    exact("tsc_deadline_past", 32, Op::PastDeadline)
        .irqchip()
        .needs(Feature::DeadlineTimer),
    // A deadline may have passed before KVM sets its timer.
    exact("preemption_timer", 52, Op::Deadline)
        .arg(20_000)
        .want(1, K)
        .irqchip()
        .needs(Feature::DeadlineTimer),
];

impl Workload {
    /// A guest, and the beginning of its program, before anything is counted.
    fn prepare(&self) -> Result<(Vm, Program)> {
        let vm = Vm::new(&Config {
            irqchip: self.irqchip,
            ..Config::default()
        })?;
        let mut program = Program::new();
        if let Some(op) = self.before {
            program.repeat(op, 1, 0);
        }
        Ok((vm, program))
    }

    /// Runs it and returns what was measured.
    pub fn run(&self) -> Result<String> {
        self.check_needs()?;
        let mut books = Books::open(&[])?;
        let (mut vm, mut program) = self.prepare()?;
        let interrupts = program.cpuid(EXITS, 1);
        let before = program.cpuid(EXITS, self.reason);
        // The read that opens a count of CPUIDs is one of them.
        let opening = u32::from(self.reason == 10);
        program.repeat(self.op, self.times - opening, self.arg);
        let after = program.cpuid(EXITS, self.reason);
        let interrupts_after = program.cpuid(EXITS, 1);

        let results = vm.run(&program)?;
        let delta = |from: usize, to: usize| -> Result<u64> {
            Ok(exits(results[to])?.wrapping_sub(exits(results[from])?))
        };
        let got = delta(before, after)?;
        let slack = match self.interruptible {
            true => delta(interrupts, interrupts_after)?,
            false => 0,
        };
        let (least, most) = self.want;
        let want: RangeInclusive<u64> = u64::from(least)..=u64::from(most) + slack;
        let text = match least == most {
            true => format!("want {least} got {got}"),
            false => format!("want {least} to {most} got {got}"),
        };
        ensure!(want.contains(&got), "{text}");
        let total = books.balance(&[&vm])?;
        Ok(format!("{text}, total {total} as KVM's"))
    }

    fn check_needs(&self) -> Result<()> {
        let kvm = Kvm::new()?;
        let missing = match self.needs {
            Some(Feature::Xsave) => {
                let cpuid = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES)?;
                let xsave =
                    |e: &kvm_bindings::kvm_cpuid_entry2| e.function == 1 && e.ecx & 1 << 26 != 0;
                (!cpuid.as_slice().iter().any(xsave)).then_some("the CPU has no XSAVE")
            }
            Some(Feature::DeadlineTimer) => (!kvm.check_extension(Cap::TscDeadlineTimer))
                .then_some("KVM has no TSC-deadline timer"),
            Some(Feature::PauseLoopExits) => (module::param("kvm_intel", "ple_gap")? == "0")
                .then_some("the CPU does not detect loops of PAUSE"),
            None => None,
        };
        missing.map_or(Ok(()), |why| Err(Skip::because(why)))
    }

    /// Runs it without a profiler and returns by how much KVM's own statistic
    /// grew: for a look at a workload alone.
    pub fn probe(&self) -> Result<u64> {
        let (mut vm, mut program) = self.prepare()?;
        program.repeat(self.op, self.times, self.arg);
        let before = vm.exits()?;
        vm.run(&program)?;
        Ok(vm.exits()? - before)
    }
}
