// SPDX-License-Identifier: GPL-2.0
//! A workload: an operation, and the known number of exits that it causes.

use crate::harness::Skip;
use crate::host::Host;
use crate::host::module::param;
use crate::vmm::cpu::{self, Feature, Isa, Version};
use crate::vmm::{Config, Op, Program, Vm};
use anyhow::Result;
use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{Cap, Kvm};

use Exit::{Both, Svm, Vmx};

/// How often an operation is done. A prime number hides no factor.
pub const K: u32 = 23;

/// What the CPU or KVM must be able to do.
#[derive(Clone, Copy)]
pub enum Need {
    Cpu(Feature),
    DeadlineTimer,
    /// What a parameter of kvm_intel says. It is off if the CPU lacks it.
    Parameter(&'static str),
    PauseLoopExits,
}

/// The number of an exit reason, for the instruction sets that have it.
#[derive(Clone, Copy)]
pub enum Exit {
    Both(u32, u32),
    Vmx(u32),
    Svm(u32),
}

impl Exit {
    /// Its number on this CPU, if there is one.
    fn number(self) -> Option<u32> {
        match (self, cpu::isa()) {
            (Both(number, _) | Vmx(number), Isa::Vmx) => Some(number),
            (Both(_, number) | Svm(number), Isa::Svm) => Some(number),
            _ => None,
        }
    }
}

/// An operation that causes a known number of exits of one reason.
#[derive(Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    exit: Exit,
    pub op: Op,
    pub arg: u32,
    /// The least and the largest number of exits.
    want: (u32, u32),
    /// The same since a version of Linux, if it is another.
    later: Option<(Version, (u32, u32))>,
    /// The versions of Linux since which KVM's fast path re-enters the guest after these
    /// exits, on VMX and on SVM.
    reenters: (Option<Version>, Option<Version>),
    /// Whether each interrupt may cause one exit more.
    pub interruptible: bool,
    irqchip: bool,
    without: Option<Feature>,
    /// An operation that is done once before counting begins.
    before: Option<Op>,
    needs: Option<Need>,
    /// Parameters of kvm_intel and kvm_amd.
    params: (&'static str, &'static str),
}

/// `op` is done K times, and exits once each time.
pub const fn exact(name: &'static str, exit: Exit, op: Op) -> Workload {
    Workload {
        name,
        exit,
        op,
        arg: 0,
        want: (K, K),
        later: None,
        reenters: (None, None),
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

    /// The number of exits since a version of Linux.
    pub const fn since(self, linux: Version, exits: u32) -> Self {
        let later = Some((linux, (exits, exits)));
        Self { later, ..self }
    }

    /// KVM's fast path re-enters the guest after each exit: since these versions of Linux,
    /// on VMX and on SVM.
    pub const fn reenters(self, vmx: Version, svm: Version) -> Self {
        let reenters = (Some(vmx), Some(svm));
        Self { reenters, ..self }
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

    /// Takes a feature that the CPU has from the guest.
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
    /// The least and the largest number of exits on this kernel.
    pub fn exits(&self) -> (u32, u32) {
        match self.later {
            Some((linux, want)) if cpu::linux() >= linux => want,
            _ => self.want,
        }
    }

    /// How many of its exits KVM's fast path ends, by re-entering the guest. On SVM, it runs
    /// only on CPUs that tell where the next instruction is.
    pub fn reentries(&self) -> Result<u32> {
        let since = cpu::pick(self.reenters.0, self.reenters.1);
        let runs = cpu::is_vmx() || !["0", "N"].contains(&&*param("kvm_amd", "nrips")?);
        let reenters = runs && since.is_some_and(|linux| cpu::linux() >= linux);
        Ok(if reenters { K } else { 0 })
    }

    /// The number of its exits' reason, if the CPU's instruction set has one.
    pub fn reason(&self) -> Option<u32> {
        self.exit.number()
    }

    /// Reloads the vendor's module, if the workload needs parameters.
    pub fn load(&self, host: &mut Host, patched: bool) -> Result<()> {
        match cpu::pick(self.params.0, self.params.1) {
            "" => Ok(()),
            params => host.reload_vendor(patched, params),
        }
    }

    /// Whether it runs on this host without other parameters.
    pub fn runs(&self) -> bool {
        self.reason().is_some() && self.params == ("", "") && self.check_needs().is_ok()
    }

    /// What a guest that `prepare()` has made must run.
    pub fn program(&self) -> Program {
        Program::repeated(self.op, K, self.arg)
    }

    /// A guest that is ready for `program()`.
    pub fn prepare(&self) -> Result<Vm> {
        let mut vm = Vm::new(&Config {
            irqchip: self.irqchip,
            without: self.without,
            ..Config::default()
        })?;
        if let Some(op) = self.before {
            vm.run(&Program::repeated(op, 1, 0))?;
        }
        Ok(vm)
    }

    /// Skips the test if the CPU or KVM cannot do it.
    pub fn check_needs(&self) -> Result<()> {
        let Some(need) = self.needs else {
            return Ok(());
        };
        let kvm = Kvm::new()?;
        let is_on = |module, name| anyhow::Ok(!["N", "0"].contains(&&*param(module, name)?));
        let (met, why): (_, String) = match need {
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
                let (module, name) =
                    cpu::pick(("kvm_intel", "ple_gap"), ("kvm_amd", "pause_filter_thresh"));
                let why = "the CPU does not detect loops of PAUSE";
                (is_on(module, name)?, why.into())
            }
        };
        if met { Ok(()) } else { Err(Skip::because(why)) }
    }
}
