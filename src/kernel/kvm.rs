// SPDX-License-Identifier: GPL-2.0

//! What KVM calls, and when it does.

use crate::{
    calibrate::calibrate,
    config, epoch, files,
    files::Files,
    guest::Guest,
    host::{self, Host, KeepsHost},
    log,
    profile::{
        isa::Isa,
        leaf::{self, Query, Registers},
    },
    reading::Reading,
    record::{record, record_untimed},
    sys::{
        contract::{self, Ops, Record, Sample, VcpuInfo},
        error::from_errno,
        params::ParamLock,
    },
    vcpus::{self, Vcpu},
};
use core::{ffi::c_void, mem, ptr, ptr::NonNull, sync::atomic::AtomicBool, sync::atomic::Ordering};
use kernel::prelude::*;

// KVM passes us the queries of the block that the protocol describes.
#[allow(clippy::assertions_on_constants)] // The one is from the model, the other from C.
const _: () = assert!(leaf::DISCOVERY == contract::CPUID_BASE);

const fn ops(record: Record, record_untimed: Record) -> Ops {
    Ops {
        version: contract::VERSION,
        size: mem::size_of::<Ops>() as u32,
        sample_size: mem::size_of::<Sample>() as u32,
        vcpu_size: mem::size_of::<VcpuInfo>() as u32,
        record: Some(record),
        record_untimed: Some(record_untimed),
        cpuid: Some(cpuid),
        attach: Some(attach),
        reset: Some(reset),
        detach: Some(detach),
    }
}

/// What KVM is given, with the `record()` for this CPU and these parameters.
fn current_ops() -> (&'static Ops, Record) {
    macro_rules! ops {
        ($svm:literal, $vcpu:literal, $histogram:literal) => {{
            const RECORD: Record = record::<$svm, $vcpu, $histogram>;
            static OPS: Ops = ops(RECORD, record_untimed::<$svm, $vcpu>);
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

/// That KVM has called us, and waits.
struct Call;

// SAFETY: KVM calls only while a profiler is registered, and unregistering waits for
// the calls, before the memory is freed.
unsafe impl KeepsHost for Call {}

// SAFETY: Loading and unloading hold the lock.
unsafe impl KeepsHost for ParamLock {}

/// Answers a guest's CPUID; false if it is not for us.
///
/// # Safety
///
/// Called by KVM: see `cpuid()` in `asm/kvm_exit_profiler.h`. The pointers are valid,
/// and to different things.
unsafe extern "C" fn cpuid(
    profile: *mut c_void,
    eax: *mut u32,
    ebx: *mut u32,
    ecx: *mut u32,
    edx: *mut u32,
) -> bool {
    // SAFETY: By this function's contract.
    let (eax, ebx, ecx, edx) = unsafe { (&mut *eax, &mut *ebx, &mut *ecx, &mut *edx) };
    // SAFETY: KVM does not detach it before we return.
    let vcpu = NonNull::new(profile).map(|profile| unsafe { Vcpu::borrow(profile) });
    let call = Call;
    // SAFETY: KVM has called us in the vCPU's task, and `guest` ends before we return.
    let (query, mut guest) = match (Query::new(*eax, *ecx), unsafe { Guest::new(&call, vcpu) }) {
        (Some(query), Some(guest)) => (query, guest),
        _ => return false,
    };
    let answer = query.answer(&mut guest);
    // SAFETY: Unloading flushes the log after KVM's last call.
    unsafe { log::query(vcpu, query, (*eax, *ecx), answer) };

    let out = Registers::from(answer);
    (*eax, *ebx, *ecx, *edx) = (out.eax, out.ebx, out.ecx, out.edx);
    true
}

/// Makes a profile for a vCPU; without memory, it has none.
///
/// # Safety
///
/// Called by KVM: see `attach()` in `asm/kvm_exit_profiler.h`.
unsafe extern "C" fn attach(info: *const VcpuInfo) -> *mut c_void {
    // SAFETY: KVM's pointer is valid.
    let info = unsafe { &*info };
    match vcpus::attach(info) {
        Ok(profile) => {
            // SAFETY: KVM does not know the profile yet.
            let vcpu = unsafe { Vcpu::borrow(profile) };
            // KVM's debugfs names VMs; one that it does not have has no files here.
            if !info.vm_name.is_null() && config::per_vcpu() {
                // SAFETY: `detach()` removes them before the profile.
                unsafe { files::add_vcpu(vcpu) };
            }
            profile.as_ptr()
        }
        Err(_) => ptr::null_mut(),
    }
}

/// A vCPU starts anew, perhaps with another guest: it holds no snapshot any more.
///
/// # Safety
///
/// Called by KVM: see `reset()` in `asm/kvm_exit_profiler.h`.
unsafe extern "C" fn reset(profile: *mut c_void) {
    if let Some(profile) = NonNull::new(profile) {
        // SAFETY: KVM does not detach it before we return, and calls us under
        // vcpu->mutex, which the vCPU's task holds while it runs.
        unsafe { Vcpu::borrow(profile).head.snapshots.set(None) };
    }
}

/// Frees the profile of a vCPU.
///
/// # Safety
///
/// Called by KVM: see `detach()` in `asm/kvm_exit_profiler.h`.
unsafe extern "C" fn detach(profile: *mut c_void) {
    let profile = match NonNull::new(profile) {
        Some(profile) => profile,
        None => return,
    };
    // SAFETY: `attach()` has made it, KVM has no other call for it, and it is not ended
    // yet.
    unsafe { files::remove_vcpu(Vcpu::borrow(profile)) };
    // SAFETY: As above; it has no directory any more.
    if let Some(vm) = unsafe { vcpus::end(profile.cast()) } {
        // SAFETY: It lives until it is retired, which `end()` leaves to us.
        unsafe {
            files::remove_vm(vm.as_ref());
            vcpus::retire(vm);
        }
    }
}

/// Whether KVM knows us; under the parameters' lock.
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// The registration with KVM, the counters, and the files.
///
/// It is dropped under the parameters' lock, by who has unregistered it.
pub(crate) struct Profiler {
    // Dropped in this order.
    files: Files,
    _memory: host::Memory,
}

impl Profiler {
    /// Registers a profiler whose counters are zero.
    ///
    /// # Errors
    ///
    /// `ENODEV` without VMX or SVM, `ENOMEM`, `EBUSY` if KVM has a profiler already,
    /// `EINVAL` if KVM's contract is of another version.
    pub(crate) fn register(lock: &ParamLock) -> Result<Profiler> {
        config::check()?;
        log::init();
        let memory = host::Memory::try_new()?;
        memory.publish();
        let (ops, record) = current_ops();
        // SAFETY: Its memory is in use, and KVM does not know of it yet.
        unsafe { calibrate(record) };
        clear(lock);
        // Before any vCPU has a profile.
        // SAFETY: KVM does not know us yet, and has forgotten us when they are dropped.
        let files = unsafe { Files::new() };
        // SAFETY: The callbacks do what they must while the module is loaded, which
        // goes only after `unregister()`.
        if let Err(r) = unsafe { contract::register(ops) } {
            pr_info!("cannot load: KVM refuses the profiler, error {r}\n");
            return Err(from_errno(r.unsigned_abs()));
        }
        REGISTERED.store(true, Ordering::Relaxed);
        set_recording(lock, config::recording());
        Ok(Profiler {
            files,
            _memory: memory,
        })
    }

    /// Shows the host's counters in files. Loading the module must not fail any more, for
    /// it would not wait for who has them open.
    pub(crate) fn show(&self) {
        self.files.show_host();
    }

    /// Unregisters; what was counted can still be read.
    pub(crate) fn unregister(&mut self, _lock: &ParamLock) {
        if REGISTERED.swap(false, Ordering::Relaxed) {
            // SAFETY: They are registered.
            unsafe { contract::unregister(current_ops().0) };
        }
    }
}

/// Switches the recording of exits on or off, if a profiler is registered.
pub(crate) fn set_recording(_lock: &ParamLock, on: bool) {
    if REGISTERED.load(Ordering::Relaxed) {
        // SAFETY: They are registered, and the lock keeps them so.
        unsafe { contract::set_recording(current_ops().0, on) };
    }
}

/// Lets the counters start from zero, if a profiler is registered. Exits that begin or
/// end meanwhile, which takes some milliseconds, are not counted.
pub(crate) fn start_from_zero(lock: &ParamLock) {
    if REGISTERED.load(Ordering::Relaxed) {
        // KVM records no exit while that is off, and drops those that began then.
        set_recording(lock, false);
        clear(lock);
        set_recording(lock, config::recording());
    }
}

/// Sets the counters that are in use to zero, while none of them is added to.
/// Guests, who cannot be made to wait, see epoch 0 meanwhile.
fn clear(lock: &ParamLock) {
    let mut reading = Reading::begin();
    epoch::change(|| {
        if let Some(host) = Host::get(lock) {
            host.clear();
        }
        reading.clear();
    });
}
