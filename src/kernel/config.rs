// SPDX-License-Identifier: GPL-2.0

//! What the CPU is and the parameters say.

use crate::{
    profile::{isa::Isa, leaf::Scope},
    sys::{
        cpu,
        error::{einval, enodev},
        params,
    },
};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use kernel::prelude::*;

pub(crate) use params::{histograms, log, per_vcpu, recording};

/// Whether the CPU has SVM, and not VMX.
static IS_SVM: AtomicBool = AtomicBool::new(false);

/// The instruction set whose exits are recorded.
pub(crate) fn isa() -> Isa {
    if IS_SVM.load(Relaxed) {
        Isa::Svm
    } else {
        Isa::Vmx
    }
}

/// The counters that a vCPU's profile has.
pub(crate) fn vcpu_slots() -> usize {
    if per_vcpu() {
        isa().slots()
    } else {
        0
    }
}

/// Whose exits guests read; `None` if they are told nothing.
pub(crate) fn scope() -> Option<Scope> {
    Scope::from_number(params::scope())
}

/// Looks at the CPU and at the parameters, before all else.
///
/// # Errors
///
/// `ENODEV` without VMX and SVM; `EINVAL` if the parameters exclude each other.
pub(crate) fn check() -> Result {
    let is_vmx = cpu::has_vmx();
    if !is_vmx && !cpu::has_svm() {
        pr_info!("cannot load: the CPU has neither VMX nor SVM\n");
        return Err(enodev());
    }
    IS_SVM.store(!is_vmx, Relaxed);
    if !per_vcpu() && matches!(scope(), Some(Scope::Vm | Scope::Vcpu)) {
        pr_info!("cannot load: per_vcpu=N has only scope=host and scope=off\n");
        return Err(einval());
    }
    Ok(())
}
