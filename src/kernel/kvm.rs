// SPDX-License-Identifier: GPL-2.0

//! The callbacks that KVM calls, and the registration with KVM.

use crate::{
    calibrate::calibrate,
    config, details, epoch, files,
    files::Files,
    guest::Guest,
    host::{self, Host, KeepsHost},
    log, phases,
    profile::{
        detail::{Code, Kinds},
        isa::Isa,
        leaf::{self, Registers},
        query::Query,
    },
    reading::Reading,
    record::{record, record_pause, record_phases, record_untimed},
    sys::{
        contract::{
            self, Ops, PauseState, Record, RecordPhases, RecordUntimed, Recording, Sample, VcpuInfo,
        },
        cpu,
        error::from_errno,
        params::ParamLock,
    },
    vm::Vcpu,
    vms,
};
use core::{
    ffi::c_void,
    mem,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};
use kernel::prelude::*;

// KVM passes queries of the leaves that the protocol defines.
#[allow(clippy::assertions_on_constants)] // One is the model's, the other C's.
const _: () = assert!(leaf::DISCOVERY == contract::CPUID_BASE);

const fn ops(record: Record, record_untimed: RecordUntimed, record_phases: RecordPhases) -> Ops {
    Ops {
        version: contract::VERSION,
        size: mem::size_of::<Ops>() as u32,
        sample_size: mem::size_of::<Sample>() as u32,
        vcpu_size: mem::size_of::<VcpuInfo>() as u32,
        pause_size: mem::size_of::<PauseState>() as u32,
        record: Some(record),
        record_untimed: Some(record_untimed),
        record_phases: Some(record_phases),
        record_pause: Some(record_pause),
        cpuid: Some(cpuid),
        attach: Some(attach),
        reset: Some(reset),
        detach: Some(detach),
    }
}

/// The callbacks for this CPU and these parameters, and their `record()`.
fn current_ops() -> (&'static Ops, Record) {
    macro_rules! ops {
        ($svm:literal, $vcpu:literal, $histogram:literal) => {{
            const RECORD: Record = record::<$svm, $vcpu, $histogram>;
            static OPS: Ops = ops(
                RECORD,
                record_untimed::<$svm, $vcpu>,
                record_phases::<$svm, $histogram>,
            );
            (&OPS, RECORD)
        }};
    }
    match (config::isa(), config::per_vcpu(), config::histograms()) {
        (Isa::Vmx, false, false) => ops!(false, false, false),
        (Isa::Vmx, false, true) => ops!(false, false, true),
        (Isa::Vmx, true, false) => ops!(false, true, false),
        (Isa::Vmx, true, true) => ops!(false, true, true),
        (Isa::Svm, false, false) => ops!(true, false, false),
        (Isa::Svm, false, true) => ops!(true, false, true),
        (Isa::Svm, true, false) => ops!(true, true, false),
        (Isa::Svm, true, true) => ops!(true, true, true),
    }
}

/// A call of KVM's, which keeps the host's memory in use.
///
/// # Invariants
///
/// KVM has called the module, and the value does not outlive the call.
struct Call(());

impl Call {
    /// # Safety
    ///
    /// The caller is a callback of KVM's, and drops the result before it returns.
    unsafe fn new() -> Call {
        // INVARIANT: The caller guarantees it.
        Call(())
    }
}

// SAFETY: KVM calls the module only while the profiler is registered. Unregistering waits
// for all calls, and comes before the memory is freed.
unsafe impl KeepsHost for Call {}

// SAFETY: Loading and unloading hold this lock.
unsafe impl KeepsHost for ParamLock {}

/// Answers a guest's CPUID; returns false if KVM is to answer.
///
/// # Safety
///
/// KVM calls this: see `cpuid()` in `asm/kvm_exit_profiler.h`. The pointers are valid and
/// distinct.
unsafe extern "C" fn cpuid(
    profile: *mut c_void,
    eax: *mut u32,
    ebx: *mut u32,
    ecx: *mut u32,
    edx: *mut u32,
) -> bool {
    // SAFETY: KVM's pointers are valid. It has initialized EAX and ECX.
    let input = unsafe { (*eax, *ecx) };
    // SAFETY: KVM does not detach a profile during a call with it.
    let vcpu = NonNull::new(profile).map(|profile| unsafe { Vcpu::borrow(profile) });
    // SAFETY: KVM calls this, and `call` is dropped before this returns.
    let call = unsafe { Call::new() };
    // SAFETY: KVM calls this in the vCPU's task, and `guest` does not outlive the call.
    let guest = unsafe { Guest::new(&call, vcpu) };
    let (query, mut guest) = match (Query::new(input.0, input.1), guest) {
        (Some(query), Some(guest)) => (query, guest),
        _ => return false,
    };
    let answer = query.answer(&mut guest);
    // SAFETY: `register()` has called `log::init()`. Unloading calls `log::flush()` after
    // KVM's last call.
    unsafe { log::query(vcpu, query, input, answer) };

    let out = Registers::from(answer);
    // SAFETY: KVM's pointers are valid.
    unsafe {
        eax.write(out.eax);
        ebx.write(out.ebx);
        ecx.write(out.ecx);
        edx.write(out.edx);
    }
    true
}

/// Makes a profile for a vCPU; NULL if there is no memory.
///
/// # Safety
///
/// KVM calls this: see `attach()` in `asm/kvm_exit_profiler.h`.
unsafe extern "C" fn attach(info: *const VcpuInfo) -> *mut c_void {
    // SAFETY: KVM's pointer is valid during the call.
    let info = unsafe { &*info };
    match vms::attach(info) {
        Ok(profile) => {
            // SAFETY: Only KVM detaches a profile, and it does not have this one yet.
            let vcpu = unsafe { Vcpu::borrow(profile) };
            // A VM that has no name in KVM's debugfs has no files here, either.
            if !info.vm_name.is_null() && config::per_vcpu() {
                // SAFETY: This attaches the vCPU. The `Files` of the profiler exists as
                // long as it is registered. `detach()` removes the vCPU's directory before
                // it ends the vCPU.
                unsafe { files::add_vcpu(vcpu) };
            }
            profile.as_ptr()
        }
        Err(_) => ptr::null_mut(),
    }
}

/// Releases a vCPU's snapshot: the vCPU starts anew, perhaps with another guest.
///
/// # Safety
///
/// KVM calls this: see `reset()` in `asm/kvm_exit_profiler.h`.
unsafe extern "C" fn reset(profile: *mut c_void) {
    if let Some(profile) = NonNull::new(profile) {
        // SAFETY: KVM does not detach a profile during a call with it. It calls this
        // under vcpu->mutex, which the vCPU's task holds while it runs.
        unsafe { Vcpu::borrow(profile).head.snapshots.set(None) };
    }
}

/// Ends the profile of a vCPU.
///
/// # Safety
///
/// KVM calls this: see `detach()` in `asm/kvm_exit_profiler.h`.
unsafe extern "C" fn detach(profile: *mut c_void) {
    let profile = match NonNull::new(profile) {
        Some(profile) => profile,
        None => return,
    };
    // SAFETY: `attach()` returned the profile. KVM makes no other call with it, and the
    // vCPU has not ended yet.
    unsafe { files::remove_vcpu(Vcpu::borrow(profile)) };
    // SAFETY: `attach()` returned the profile. KVM makes no other call with it, and the
    // vCPU has no directory any more.
    if let Some(vm) = unsafe { vms::end(profile) } {
        // SAFETY: `end()` returned the VM to this call alone. The VM exists until
        // `retire()`.
        unsafe {
            files::remove_vm(vm.as_ref());
            vms::retire(vm);
        }
    }
}

/// The callbacks that are registered with KVM; null if none are. Protected by the
/// parameters' lock.
static REGISTERED: AtomicPtr<Ops> = AtomicPtr::new(ptr::null_mut());

fn registered(_lock: &ParamLock) -> Option<&'static Ops> {
    // SAFETY: The pointer is null, or came from a `&'static Ops`.
    unsafe { REGISTERED.load(Relaxed).as_ref() }
}

/// The registration with KVM, the counters, and the files.
///
/// The owner drops it under the parameters' lock.
pub(crate) struct Profiler {
    // Fields are dropped in this order: the files read the memory.
    files: Files,
    _memory: host::Memory,
}

impl Profiler {
    /// Sets the counters to zero, and registers the profiler.
    ///
    /// # Errors
    ///
    /// `ENODEV` without VMX and SVM, `ENOMEM`, `EBUSY` if KVM has a profiler already,
    /// `EINVAL` if KVM has another version of the contract.
    pub(crate) fn register(lock: &ParamLock) -> Result<Profiler> {
        config::check()?;
        log::init();
        details::init();
        let memory = host::Memory::try_new()?;
        memory.publish();
        let (ops, record) = current_ops();
        // SAFETY: The memory of `record` is in use. KVM does not call it before the
        // registration.
        unsafe { calibrate(record) };
        clear(lock);
        // Made before the registration, because `attach()` adds directories to it.
        // SAFETY: The profiler is not registered yet. `drop()` unregisters it before
        // `files` is dropped.
        let files = unsafe { Files::new() };
        // SAFETY: The callbacks fulfil the contract while the module is loaded, and
        // `drop()` unregisters them before it is unloaded.
        if let Err(r) = unsafe { contract::register(ops) } {
            pr_info!("cannot load: KVM refuses the profiler, error {r}\n");
            return Err(from_errno(r.unsigned_abs()));
        }
        REGISTERED.store(ops as *const Ops as *mut Ops, Relaxed);
        resume(lock);
        Ok(Profiler {
            files,
            _memory: memory,
        })
    }

    /// Makes the host's files. Loading the module must not fail afterwards, because a
    /// failed load does not wait for open files.
    pub(crate) fn show(&self) {
        self.files.show_host();
    }

    /// Unregisters the profiler. The counters stay readable.
    pub(crate) fn unregister(&mut self) {
        // SAFETY: The pointer is null, or came from a `&'static Ops`. The owner holds the
        // lock.
        if let Some(ops) = unsafe { REGISTERED.swap(ptr::null_mut(), Relaxed).as_ref() } {
            // SAFETY: `register()` has registered these callbacks. Phases are stopped before
            // KVM forgets the vCPUs, which may not exist any more then.
            unsafe {
                switch(ops, Recording::Nothing);
                contract::unregister(ops);
            }
        }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// Switches recording to what the parameters say. Does nothing if the profiler is not
/// registered.
pub(crate) fn resume(lock: &ParamLock) {
    if let Some(ops) = registered(lock) {
        let (kinds, code) = (config::details(), config::code() != Code::Off);
        if kinds != Kinds::NONE || code {
            Reading::begin().make_details();
        }
        // SAFETY: `register()` has registered these callbacks, and the lock keeps them
        // registered.
        unsafe { contract::set_details(ops, kinds.0, code) };
    }
    set_recording(
        lock,
        match (config::recording(), config::phases()) {
            (false, _) => Recording::Nothing,
            (true, false) => Recording::Exits,
            (true, true) => Recording::Phases,
        },
    );
}

/// Switches recording. Phases do not begin before KVM is switched in all places, and end
/// afterwards.
///
/// # Safety
///
/// The callbacks are registered.
unsafe fn switch(ops: &'static Ops, recording: Recording) {
    phases::allow(false);
    // KVM may not tell that a pause ends while it is being switched.
    let now = cpu::tsc();
    // SAFETY: The caller guarantees that the callbacks are registered.
    unsafe { contract::set_recording(ops, recording) };
    match recording {
        Recording::Phases => phases::allow(true),
        _ => Reading::begin().stop_phases(now),
    }
}

fn set_recording(lock: &ParamLock, recording: Recording) {
    if let Some(ops) = registered(lock) {
        if recording == Recording::Phases {
            Reading::begin().make_phases();
        }
        // SAFETY: `register()` has registered these callbacks, and the lock keeps them
        // registered.
        unsafe { switch(ops, recording) };
    }
}

/// Restarts the counters from zero. Does nothing if the profiler is not registered. This
/// takes some milliseconds. Exits that begin or end meanwhile are not counted.
pub(crate) fn start_from_zero(lock: &ParamLock) {
    if registered(lock).is_some() {
        // While recording is off, KVM records no exit. It also drops exits that began
        // before.
        set_recording(lock, Recording::Nothing);
        clear(lock);
        resume(lock);
    }
}

/// Sets all counters to zero. Recording is off meanwhile. Guests do not wait for this:
/// they read epoch 0.
fn clear(lock: &ParamLock) {
    let mut reading = Reading::begin();
    epoch::change(|| {
        if let Some(host) = Host::get(lock) {
            host.clear();
        }
        reading.clear();
    });
}
