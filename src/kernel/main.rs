// SPDX-License-Identifier: GPL-2.0

//! kvm_exitprof.ko: counts KVM's VM exits by reason, and answers guests' CPUID queries.
//!
//! The hooks in KVM are in `patches/`. README.md in this folder lists the files, each of
//! which uses only files below it. [`profile`] is the model that the module shares with
//! the tools.

mod block;
mod calibrate;
mod config;
mod details;
mod epoch;
mod files;
mod guest;
mod host;
mod kvm;
mod log;
mod params;
mod phases;
#[path = "../profile/lib.rs"]
#[allow(dead_code, unreachable_pub)] // The tools use the rest.
mod profile;
mod reading;
mod record;
mod snapshot;
mod spread;
mod sys;
mod table;
mod text;
mod vm;
mod vms;

use ::kernel::prelude::*;
use profile::leaf::Scope;
use sys::params::ParamLock;

#[cfg(not(CONFIG_SMP))]
compile_error!("CONFIG_SMP is required: without it, per-CPU memory is not relative to gs");

#[cfg(all(CONFIG_X86_KERNEL_IBT, not(exitprof_endbr)))]
compile_error!(
    "CONFIG_X86_KERNEL_IBT must be off: calls into the module would fault, because this kernel's Rust emits no ENDBR64"
);

#[cfg(exitprof_authors)]
module! {
    type: ExitProf,
    name: "kvm_exitprof",
    authors: ["The kvm-exitprof authors"],
    description: "Counts VM exits and the cycles of their handling, by reason",
    license: "GPL v2",
}

#[cfg(all(exitprof_strings, not(exitprof_authors)))]
module! {
    type: ExitProf,
    name: "kvm_exitprof",
    author: "The kvm-exitprof authors",
    description: "Counts VM exits and the cycles of their handling, by reason",
    license: "GPL v2",
}

#[cfg(not(exitprof_strings))]
module! {
    type: ExitProf,
    name: b"kvm_exitprof",
    author: b"The kvm-exitprof authors",
    description: b"Counts VM exits and the cycles of their handling, by reason",
    license: b"GPL v2",
}

struct ExitProf {
    /// `None` only while it is dropped.
    profiler: Option<kvm::Profiler>,
}

impl ::kernel::Module for ExitProf {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let lock = ParamLock::lock();
        let profiler = kvm::Profiler::register(&lock)?;
        profiler.show();
        match config::scope() {
            Some(Scope::Host) => pr_info!(
                "loaded: answering CPUID 0x4fffff00-0x4fffffff; every guest reads the counts of the whole host: scope=vm prevents that\n"
            ),
            _ => pr_info!("loaded: answering CPUID 0x4fffff00-0x4fffffff\n"),
        }
        Ok(ExitProf {
            profiler: Some(profiler),
        })
    }
}

impl Drop for ExitProf {
    fn drop(&mut self) {
        let lock = ParamLock::lock();
        if let Some(profiler) = &mut self.profiler {
            profiler.unregister();
        }
        log::flush();
        params::report(&lock, false);
        // Dropped under the lock, because parameters can be written until this returns.
        self.profiler = None;
        pr_info!("unloaded\n");
    }
}
