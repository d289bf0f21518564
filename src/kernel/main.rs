// SPDX-License-Identifier: GPL-2.0

//! kvm_exitprof.ko: counts KVM's VM exits by reason, and answers guests' CPUID.
//!
//! The hooks are in KVM: see `patches/`. Each file knows only those below it:
//!
//! - `params`: what is done when a parameter is written;
//! - `kvm`: what KVM calls;
//! - `files`, `table`, `text`: which files there are, and how they look;
//! - `guest`, `log`, `calibrate`: what one guest is told, and the log of that;
//! - `record`: what is done at each exit;
//! - `reading`, `vcpus`, `snapshot`: the counters of vCPUs, by VM;
//! - `host`, `block`: the counters of CPUs, and of what is none;
//! - `epoch`, `config`: since when they count, and what the parameters say;
//! - `sys`: the kernel's facilities.
//!
//! What a profile is, and what guests are answered, is [`profile`], which knows none
//! of them.

mod block;
mod calibrate;
mod config;
mod epoch;
mod files;
mod guest;
mod host;
mod kvm;
mod log;
mod params;
#[path = "../profile/lib.rs"]
#[allow(dead_code, unreachable_pub)] // The tools use it all.
mod profile;
mod reading;
mod record;
mod snapshot;
mod sys;
mod table;
mod text;
mod vcpus;

use ::kernel::prelude::*;
use profile::leaf::Scope;
use sys::params::ParamLock;

#[cfg(not(CONFIG_SMP))]
compile_error!("per-CPU memory is at gs: only with CONFIG_SMP");

#[cfg(CONFIG_X86_KERNEL_IBT)]
compile_error!(
    "Rust of Linux 6.1 emits no endbr64, without which CONFIG_X86_KERNEL_IBT faults: switch that off"
);

module! {
    type: ExitProf,
    name: b"kvm_exitprof",
    author: b"The kvm-exitprof authors",
    description: b"Counts VM exits and the cycles of their handling, by reason",
    license: b"GPL v2",
}

struct ExitProf {
    /// Until the module is unloaded.
    profiler: Option<kvm::Profiler>,
}

impl ::kernel::Module for ExitProf {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let lock = ParamLock::lock();
        let profiler = kvm::Profiler::register(&lock)?;
        profiler.show();
        let advice = match config::scope() {
            Some(Scope::Host) => {
                "; every guest reads the counts of the whole host: scope=vm prevents that"
            }
            _ => "",
        };
        pr_info!("loaded: answering CPUID 0x4fffff00-0x4fffffff{advice}\n");
        Ok(ExitProf {
            profiler: Some(profiler),
        })
    }
}

impl Drop for ExitProf {
    fn drop(&mut self) {
        let lock = ParamLock::lock();
        if let Some(profiler) = &mut self.profiler {
            profiler.unregister(&lock);
        }
        log::flush();
        params::report(&lock, false);
        // Under the lock: parameters can be written until we have returned.
        self.profiler = None;
        pr_info!("unloaded\n");
    }
}
