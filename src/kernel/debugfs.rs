// SPDX-License-Identifier: GPL-2.0

//! Tables as files in debugfs: `kvm_exitprof/` has those of the host, and a
//! directory for each VM, named as KVM names its own. Who has a file of the host's
//! open holds the module; who reads a VM's or vCPU's makes those wait who remove it.

use crate::{
    bindings,
    profile::{
        counts::{Counter, Summed},
        reason::Isa,
    },
    profiler::{self, isa, Profiler},
    table::{by_reason, by_vcpu},
    text,
    vcpu::{VcpuProfile, Vcpus},
    ParamLock,
};
use core::{
    ffi::{c_int, c_void},
    fmt::{self, Arguments, Write},
    ptr::NonNull,
};

/// The module's directory.
pub(crate) struct Dir(());

impl Dir {
    /// Makes it, if debugfs can; before any vCPU has a profile.
    pub(crate) fn new() -> Dir {
        // SAFETY: It has no requirements.
        unsafe { bindings::exitprof_make_dir() };
        Dir(())
    }

    /// Makes the host's files in it. Loading the module must not fail any more, for
    /// it would not wait for who has them open.
    pub(crate) fn make_files(&self) {
        // SAFETY: `new()` has made the directory.
        unsafe { bindings::exitprof_make_files() };
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // SAFETY: `new()` has made it.
        unsafe { bindings::exitprof_remove_dir() };
    }
}

/// A file that is read.
///
/// # Invariants
///
/// debugfs has called us for it, and waits.
struct Seq(*mut bindings::seq_file);

impl Seq {
    /// What the file was made with.
    fn private(&self) -> *mut c_void {
        // SAFETY: By the type's invariant.
        unsafe { bindings::exitprof_seq_private(self.0) }
    }

    fn line(&mut self, line: Arguments<'_>) {
        // It only fails for want of room, and then all is shown again with more.
        let _ = writeln!(self, "{line}");
    }
}

impl Write for Seq {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: By the type's invariant.
        match unsafe { bindings::seq_write(self.0, text.as_ptr().cast(), text.len()) } {
            0 => Ok(()),
            _ => Err(fmt::Error),
        }
    }
}

/// Counters that are not set to zero while they are summed up.
struct Still<'a, T: ?Sized>(&'a T);

impl<T: Summed + ?Sized> Summed for Still<'_, T> {
    fn isa(&self) -> Isa {
        isa()
    }

    fn each(&self, with: impl FnMut(&[Counter])) {
        Vcpus::lock(|_| self.0.each(with));
    }
}

/// Shows the host's exits by reason.
///
/// # Safety
///
/// As for the others here: debugfs calls it for `to`, which is being read.
#[no_mangle]
unsafe extern "C" fn exitprof_host_show(to: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // INVARIANT: By this function's contract.
    let mut to = Seq(to);
    // SAFETY: The module, which is held, unregisters only when it is unloaded.
    if let Some(totals) = unsafe { profiler::totals() } {
        by_reason(&Still(&totals), |line| to.line(line));
    }
    0
}

/// Shows the host's exits by vCPU.
#[no_mangle]
unsafe extern "C" fn exitprof_vcpus_show(to: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // INVARIANT: By this function's contract.
    let mut to = Seq(to);
    // SAFETY: As above.
    if let Some(totals) = unsafe { profiler::totals() } {
        by_vcpu(&totals, |line| to.line(line));
    }
    0
}

/// Shows all, for programs.
#[no_mangle]
unsafe extern "C" fn exitprof_text_show(to: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // INVARIANT: By this function's contract.
    let mut to = Seq(to);
    // SAFETY: As above.
    if let Some(totals) = unsafe { profiler::totals() } {
        text::show(&totals, |line| to.line(line));
    }
    0
}

/// Lets the counters start from zero.
#[no_mangle]
extern "C" fn exitprof_reset() {
    let _lock = ParamLock::new();
    Profiler::reset();
}

/// The VM with that number: the sum of its vCPUs.
struct OfVm(u64);

impl Summed for OfVm {
    fn isa(&self) -> Isa {
        isa()
    }

    fn each(&self, mut with: impl FnMut(&[Counter])) {
        Vcpus::lock(|vcpus| {
            let profiles = vcpus.of_vm(self.0);
            profiles.for_each(|profile| profile.each(&mut with));
        });
    }
}

/// Shows a VM's exits by reason.
#[no_mangle]
unsafe extern "C" fn exitprof_vm_show(to: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // INVARIANT: By this function's contract.
    let mut to = Seq(to);
    let vm = OfVm(to.private() as u64);
    by_reason(&vm, |line| to.line(line));
    0
}

/// Shows a vCPU's exits by reason.
#[no_mangle]
unsafe extern "C" fn exitprof_vcpu_show(to: *mut bindings::seq_file, _: *mut c_void) -> c_int {
    // INVARIANT: By this function's contract.
    let mut to = Seq(to);
    if let Some(thin) = NonNull::new(to.private()) {
        // SAFETY: `attach()` has made the file with it, and `detach()` removes
        // that, which waits for us, before the profile.
        let profile = unsafe { &*VcpuProfile::from_thin(thin) };
        by_reason(&Still(profile), |line| to.line(line));
    }
    0
}
