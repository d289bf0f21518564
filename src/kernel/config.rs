// SPDX-License-Identifier: GPL-2.0

//! The configuration: the CPU's virtualization extension, and the module's parameters.

use crate::{
    profile::{
        detail::{Code, Kinds},
        isa::Isa,
        leaf::Scope,
        reason::Kernel,
    },
    sys::{
        cpu,
        error::{einval, enodev},
        params,
    },
};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use kernel::prelude::*;

pub(crate) use params::{log, phases, recording};

/// The kernel that the module is built for: see Kbuild.
pub(crate) const KERNEL: Kernel = if cfg!(exitprof_msr_imm) {
    Kernel::V7_3
} else {
    Kernel::V6_1
};

/// Whether the CPU has SVM instead of VMX.
static IS_SVM: AtomicBool = AtomicBool::new(false);

/// The parameters that must not change, as they were at load: root can write even files
/// that are read-only, after a chmod.
static PER_VCPU: AtomicBool = AtomicBool::new(false);
static HISTOGRAMS: AtomicBool = AtomicBool::new(false);

/// Whether each vCPU has its own counters.
pub(crate) fn per_vcpu() -> bool {
    PER_VCPU.load(Relaxed)
}

/// Whether each reason has a histogram.
pub(crate) fn histograms() -> bool {
    HISTOGRAMS.load(Relaxed)
}

/// The virtualization extension whose exits are recorded.
pub(crate) fn isa() -> Isa {
    if IS_SVM.load(Relaxed) {
        Isa::Svm
    } else {
        Isa::Vmx
    }
}

/// The number of slots of a vCPU's profile: 0 with `per_vcpu=N`.
pub(crate) fn vcpu_slots() -> usize {
    if per_vcpu() {
        isa().slots()
    } else {
        0
    }
}

/// Whose exits guests read; `None` with `scope=off`.
pub(crate) fn scope() -> Option<Scope> {
    Scope::from_number(params::scope())
}

/// What tells exits of a reason apart.
pub(crate) fn details() -> Kinds {
    Kinds(params::details())
}

/// How much of the guest's instruction pointer is kept.
pub(crate) fn code() -> Code {
    match params::code() {
        1 => Code::Page,
        2 => Code::Exact,
        _ => Code::Off,
    }
}

/// Checks the CPU and the parameters. Must be called before any other function of this
/// file.
///
/// # Errors
///
/// `ENODEV` without VMX and SVM; `EINVAL` if the parameters contradict each other.
pub(crate) fn check() -> Result {
    let is_vmx = cpu::has_vmx();
    if !is_vmx && !cpu::has_svm() {
        pr_info!("cannot load: the CPU has neither VMX nor SVM\n");
        return Err(enodev());
    }
    IS_SVM.store(!is_vmx, Relaxed);
    PER_VCPU.store(params::per_vcpu(), Relaxed);
    HISTOGRAMS.store(params::histograms(), Relaxed);
    if !per_vcpu() && matches!(scope(), Some(Scope::Vm | Scope::Vcpu)) {
        pr_info!("cannot load: per_vcpu=N requires scope=host or scope=off\n");
        return Err(einval());
    }
    if !per_vcpu() && phases() {
        pr_info!("cannot load: phases=Y requires per_vcpu=Y\n");
        return Err(einval());
    }
    if !per_vcpu() && (details() != Kinds::NONE || code() != Code::Off) {
        pr_info!("cannot load: details= and code= require per_vcpu=Y\n");
        return Err(einval());
    }
    Ok(())
}
