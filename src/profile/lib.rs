// SPDX-License-Identifier: GPL-2.0

//! What a VM-exit profile is: exit reasons, counts, and the CPUID leaves that
//! answer them.
//!
//! While a guest runs, some instructions and events make the processor leave the
//! guest and enter the hypervisor: a *VM exit*. A number gives the cause: VMX's
//! *basic exit reason*, or SVM's *exit code*. A profile holds the number of exits
//! of each reason, and the cycles of the host's TSC that their handling took
//! ([`counts`], [`isa`]).
//!
//! A guest reads the profile with the CPUID instruction. It puts a *leaf* into EAX
//! and a *subleaf* into ECX, and finds the answer in EAX, EBX, ECX and EDX. CPUID
//! always exits to the hypervisor, so the hypervisor can answer ([`leaf`], [`query`]). The
//! host logs these queries ([`query_log`]).
//!
//! Everything here is plain arithmetic on `core`, without `unsafe`. It is
//! compiled twice: into the kernel module, and by cargo into the tools and tests.
//! README.md in this folder describes the protocol for users.

pub mod cells;
pub mod counts;
pub mod detail;
pub mod heavy;
pub mod histogram;
pub mod isa;
pub mod leaf;
pub mod phases;
pub mod query;
pub mod query_log;
pub mod queue;
pub mod reason;
mod svm;
pub mod table;
pub mod text;
pub mod throttle;
pub mod trips;
mod vmx;
