// SPDX-License-Identifier: GPL-2.0

//! kvm_exitprof.ko: counts KVM's VM exits by reason, and answers guests' CPUID.
//!
//! The hooks are in KVM: see `patches/`. What they call is [`profiler`]; what a
//! profile is, is [`profile`].

#[allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings; // Made by bindgen: see Kbuild.
mod calibrate;
mod counters;
mod debugfs;
mod log;
mod percpu;
#[path = "../profile/mod.rs"]
#[allow(dead_code, unreachable_pub)] // The tools use it all.
mod profile;
mod profiler;
mod record;
mod table;
mod text;
mod vcpu;
mod view;

use debugfs::Dir;
use kernel::prelude::*;
use profiler::Profiler;

#[cfg(not(CONFIG_SMP))]
compile_error!("per-CPU memory is at gs: only with CONFIG_SMP");

module! {
    type: ExitProf,
    name: b"kvm_exitprof",
    author: b"The kvm-exitprof authors",
    description: b"Counts VM exits and the cycles of their handling, by reason",
    license: b"GPL v2",
}

struct ExitProf {
    profiler: Profiler,
    _dir: Dir,
}

impl kernel::Module for ExitProf {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let _lock = ParamLock::new();
        let dir = Dir::new();
        let profiler = Profiler::register()?;
        exitprof_sampling_changed();
        dir.make_files();
        pr_info!("loaded: answering CPUID 0x4fffff00-0x4fffffff\n");
        Ok(ExitProf {
            profiler,
            _dir: dir,
        })
    }
}

impl Drop for ExitProf {
    fn drop(&mut self) {
        let _lock = ParamLock::new();
        let totals = self.profiler.unregister();
        log::flush();
        table::by_reason(&totals, table::log);
        pr_info!("unloaded\n");
    }
}

/// Parameter `sampling` was written; the parameters' lock is held.
#[no_mangle]
extern "C" fn exitprof_sampling_changed() {
    // SAFETY: The lock is held by those who write it, too.
    Profiler::set_sampling(unsafe { bindings::exitprof_sampling });
}

/// Parameter `report` was written; the parameters' lock is held.
#[no_mangle]
extern "C" fn exitprof_report(by_vcpu: bool) {
    // SAFETY: The lock is held until we return.
    match unsafe { profiler::totals() } {
        Some(totals) if by_vcpu => table::by_vcpu(&totals, table::log),
        Some(totals) => table::by_reason(&totals, table::log),
        None => (),
    }
}

/// The lock under which the kernel writes our parameters. It keeps loading,
/// unloading and them from meeting: files of parameters are there before
/// `init()` begins, and after `drop()` has ended.
struct ParamLock;

impl ParamLock {
    fn new() -> ParamLock {
        // SAFETY: Called in process context, and by nobody who holds it.
        unsafe { bindings::exitprof_param_lock() };
        ParamLock
    }
}

impl Drop for ParamLock {
    fn drop(&mut self) {
        // SAFETY: `new()` has taken it.
        unsafe { bindings::exitprof_param_unlock() };
    }
}

/// The error with the number `errno`, such as `bindings::ENODEV`.
fn errno(errno: u32) -> Error {
    match core::ffi::c_int::try_from(errno) {
        // SAFETY: `Error` is a struct of nothing but a `c_int` (rust/kernel/error.rs;
        // the compiler checks the size), and the pattern keeps its invariant,
        // -MAX_ERRNO <= n < 0. 6.1 has no other way to make one.
        Ok(errno @ 1..=4095) => unsafe { core::mem::transmute(-errno) },
        _ => kernel::error::code::ENOMEM,
    }
}
