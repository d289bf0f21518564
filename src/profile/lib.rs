// SPDX-License-Identifier: GPL-2.0

//! What a VM-exit profile is, apart from where it is kept.
//!
//! While a guest runs, some of its instructions and some events make the
//! processor leave the guest and enter the hypervisor: a *VM exit*. The
//! processor says why by a number: VMX's *basic exit reason*, SVM's *exit code*. A
//! profile holds, for each reason, how often it occurred and how many cycles of the host's
//! TSC its handling took ([`counts`], [`isa`]).
//!
//! A guest reads the profile by the CPUID instruction: it puts the number of a
//! *leaf* into EAX and of a *subleaf* into ECX, and finds an answer in EAX, EBX,
//! ECX and EDX. CPUID always exits to the hypervisor, and so the hypervisor can
//! answer what it likes ([`leaf`]). The host logs these queries ([`query_log`]).
//!
//! Everything here is plain arithmetic on `core`, without `unsafe`. It is
//! compiled twice: into the kernel module, and by cargo into the tools and the
//! tests.

pub mod cells;
pub mod counts;
pub mod histogram;
pub mod isa;
pub mod leaf;
pub mod query_log;
pub mod queue;
pub mod reason;
mod svm;
pub mod table;
pub mod text;
pub mod throttle;
mod vmx;
