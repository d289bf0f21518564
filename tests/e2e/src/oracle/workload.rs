// SPDX-License-Identifier: GPL-2.0
//! A workload: a known number of exits of one reason, and how it is caused.

use crate::harness::runner::Skip;
use crate::host::module::{self, Host, State};
use crate::host::tracepoint::Counter;
use crate::oracle::leaf::{Books, EXITS, exits};
use crate::vmm::cpu::{self, Feature, INTERRUPT};
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vm};
use anyhow::{Context, Result, ensure};
use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{Cap, Kvm};
use profile::isa::Isa;
use std::ops::RangeInclusive;

use Exit::{Both, Svm, Vmx};

/// How often an operation is done: a prime, so that no factor hides.
pub const K: u32 = 23;

/// What the CPU or KVM must be capable of.
#[derive(Clone, Copy)]
pub enum Need {
    Cpu(Feature),
    DeadlineTimer,
    /// A parameter of kvm_intel, which it clears if the CPU lacks it.
    Parameter(&'static str),
    PauseLoopExits,
}

/// The number of an exit for those that have it: VMX's basic exit reason, SVM's
/// exit code.
#[derive(Clone, Copy)]
pub enum Exit {
    Both(u32, u32),
    Vmx(u32),
    Svm(u32),
}

impl Exit {
    /// The number that it has on this CPU, if it has it.
    fn number(self) -> Option<u32> {
        match (self, cpu::isa()) {
            (Both(number, _) | Vmx(number), Isa::Vmx) => Some(number),
            (Both(_, number) | Svm(number), Isa::Svm) => Some(number),
            _ => None,
        }
    }
}

/// A known number of exits of one reason.
#[derive(Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    exit: Exit,
    op: Op,
    times: u32,
    arg: u32,
    /// By how much the count grows at least and at most.
    want: (u32, u32),
    /// Further exits that an interrupt in between may cause.
    interruptible: bool,
    irqchip: bool,
    without: Option<Feature>,
    /// Done once before counting begins.
    before: Option<Op>,
    needs: Option<Need>,
    /// What kvm_intel or kvm_amd is loaded with.
    params: (&'static str, &'static str),
}

/// `op` is done K times, and each time exits once for that.
pub const fn exact(name: &'static str, exit: Exit, op: Op) -> Workload {
    Workload {
        name,
        exit,
        op,
        times: K,
        arg: 0,
        want: (K, K),
        interruptible: false,
        irqchip: false,
        without: None,
        before: None,
        needs: None,
        params: ("", ""),
    }
}

impl Workload {
    pub const fn arg(self, arg: u32) -> Self {
        Self { arg, ..self }
    }

    pub const fn want(self, least: u32, most: u32) -> Self {
        let want = (least, most);
        Self { want, ..self }
    }

    pub const fn interruptible(self) -> Self {
        let interruptible = true;
        Self {
            interruptible,
            ..self
        }
    }

    pub const fn irqchip(self) -> Self {
        let irqchip = true;
        Self { irqchip, ..self }
    }

    /// In a guest without the feature, which the CPU has.
    pub const fn without(self, feature: Feature) -> Self {
        let without = Some(feature);
        Self { without, ..self }.needs(Need::Cpu(feature))
    }

    pub const fn before(self, op: Op) -> Self {
        let before = Some(op);
        Self { before, ..self }
    }

    pub const fn needs(self, need: Need) -> Self {
        let needs = Some(need);
        Self { needs, ..self }
    }

    pub const fn params(self, vmx: &'static str, svm: &'static str) -> Self {
        let params = (vmx, svm);
        Self { params, ..self }
    }

    pub const fn shadow_paging(self) -> Self {
        self.params("ept=0", "npt=0")
    }
}

impl Workload {
    /// Loads the vendor's module with its parameters.
    fn reload(&self, host: &mut Host, patched: bool) -> Result<()> {
        let params = match cpu::isa() {
            Isa::Vmx => self.params.0,
            Isa::Svm => self.params.1,
        };
        if !params.is_empty() {
            host.forget();
            host.unload_vendor()?;
            host.load_vendor(patched, params)?;
        }
        Ok(())
    }

    /// Whether the CPU's instruction set has such an exit.
    pub fn exists(&self) -> bool {
        self.exit.number().is_some()
    }

    /// Whether it runs on this host, with the modules as they are loaded.
    pub fn runs(&self) -> bool {
        self.exists() && self.params == ("", "") && self.check_needs().is_ok()
    }

    /// What is done, in a guest made by `prepare()`.
    pub fn program(&self) -> Program {
        let mut program = Program::new();
        program.repeat(self.op, self.times, self.arg);
        program
    }

    /// A guest in which nothing is left but to be counted.
    pub fn prepare(&self) -> Result<Vm> {
        let mut vm = Vm::new(&Config {
            irqchip: self.irqchip,
            without: self.without,
            ..Config::default()
        })?;
        if let Some(op) = self.before {
            let mut program = Program::new();
            program.repeat(op, 1, 0);
            vm.run(&program)?;
        }
        Ok(vm)
    }

    /// Runs it and returns what was measured.
    pub fn run(&self, host: &mut Host) -> Result<String> {
        let reason = self.exit.number().context("no such exit here")?;
        self.reload(host, true)?;
        self.check_needs()?;
        let mut books = Books::open(&[])?;
        let counter = Counter::of(reason)?;
        let mut vm = self.prepare()?;
        let interrupt = INTERRUPT.number();
        let mut program = Program::new();
        let interrupts = program.cpuid(EXITS, interrupt);
        let before = program.cpuid(EXITS, reason);
        // The read that opens a count of CPUIDs is one of them.
        let opening = u32::from(self.op == Op::Cpuid);
        program.repeat(self.op, self.times - opening, self.arg);
        let after = program.cpuid(EXITS, reason);
        let interrupts_after = program.cpuid(EXITS, interrupt);

        let traced = counter.read()?;
        let results = vm.run(&program)?;
        let traced = counter.read()? - traced - self.frame();
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
            true => format!("want {least} got {got} (leaf), {traced} (kvm_exit)"),
            false => format!("want {least} to {most} got {got} (leaf), {traced} (kvm_exit)"),
        };
        ensure!(want.contains(&got) && traced == got, "{text}");
        let total = books.balance(&[&vm])?;
        Ok(format!("{text}, total {total} in all three books"))
    }

    /// Exits of the same reason before and after those that leaves see: by
    /// the program's other reads, and by the OUT that ends it.
    fn frame(&self) -> u64 {
        match self.exit {
            Both(10, _) => 3,
            Both(30, _) => 1,
            _ => 0,
        }
    }

    fn check_needs(&self) -> Result<()> {
        let Some(need) = self.needs else {
            return Ok(());
        };
        let kvm = Kvm::new()?;
        let is_on =
            |module, name| anyhow::Ok(!["N", "0"].contains(&&*module::param(module, name)?));
        let (met, why) = match need {
            Need::Cpu(feature) => {
                let supported = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
                let met = feature.is_in(supported.as_slice());
                (met, format!("guests have no {} here", feature.name))
            }
            Need::DeadlineTimer => {
                let met = kvm.check_extension(Cap::TscDeadlineTimer);
                (met, "KVM has no TSC-deadline timer".into())
            }
            Need::Parameter(name) => {
                let why = format!("the CPU cannot do what kvm_intel calls {name}");
                (is_on("kvm_intel", name)?, why)
            }
            Need::PauseLoopExits => {
                let met = match cpu::isa() {
                    Isa::Vmx => is_on("kvm_intel", "ple_gap")?,
                    Isa::Svm => is_on("kvm_amd", "pause_filter_thresh")?,
                };
                (met, "the CPU does not detect loops of PAUSE".into())
            }
        };
        met.then_some(()).ok_or_else(|| Skip::because(why))
    }

    /// Runs it without a profiler and returns by how much KVM's own statistic
    /// grew, and how often the tracepoint fired for its reason: for a look at
    /// a workload alone.
    pub fn probe(&self, host: &mut Host) -> Result<String> {
        let reason = self.exit.number().context("no such exit here")?;
        host.reach(State::Unpatched)?;
        self.reload(host, false)?;
        self.check_needs()?;
        let mut vm = self.prepare()?;
        let (counter, before) = (Counter::of(reason)?, vm.exits()?);
        vm.run(&self.program())?;
        let (exits, traced) = (vm.exits()? - before, counter.read()?);
        Ok(format!(
            "{exits} exits, kvm_exit: {traced} of reason {reason}"
        ))
    }
}
