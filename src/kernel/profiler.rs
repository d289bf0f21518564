// SPDX-License-Identifier: GPL-2.0

//! The profiler that KVM calls: it counts exits and answers CPUID.
//!
//! Each CPU writes only its own counters, by single instructions relative to
//! its per-CPU base: atomic where it matters without a lock prefix. Readers sum
//! over all CPUs.

use crate::{
    bindings, errno, log,
    percpu::PerCpu,
    profile::{
        counts::Counter,
        leaf::{self, Query, Registers, Scope},
        reason::Isa,
    },
    vcpu::{self, Vcpus},
    view::{Guest, Totals},
};
use core::{
    arch::asm,
    mem, ptr,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed},
};
use kernel::prelude::*;

/// The bit of CPUID leaf 1's ECX that says that the CPU has VMX.
const CPUID_1_ECX_VMX: u32 = 1 << 5;
/// The bit of CPUID leaf 0x80000001's ECX that says that the CPU has SVM.
const CPUID_80000001_ECX_SVM: u32 = 1 << 2;

// KVM passes us the queries of the block that the protocol describes.
#[allow(clippy::assertions_on_constants)] // The one is from the model, the other from C.
const _: () = assert!(leaf::DISCOVERY == bindings::KVM_EXIT_PROFILER_CPUID_BASE);

/// The counters in use, for each CPU [`Isa::slots`] of all exits, and as many of the
/// unattributed: those of vCPUs without a profile. Null unless a [`Profiler`]
/// is registered.
///
/// Relaxed accesses are enough: KVM calls `record()` only after a grace period
/// and after changing code, and `cpuid()` through the pointer that it publishes,
/// ahead of which x86 does no load of ours; the parameters' lock is for the rest.
static SLOTS: AtomicPtr<Counter> = AtomicPtr::new(ptr::null_mut());

/// Whether the CPU has SVM, and not VMX; set before [`SLOTS`].
static IS_SVM: AtomicBool = AtomicBool::new(false);

/// The instruction set whose exits are recorded.
pub(crate) fn isa() -> Isa {
    if IS_SVM.load(Relaxed) {
        Isa::Svm
    } else {
        Isa::Vmx
    }
}

/// Changes when the counters start from zero.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// See [`leaf::Protocol::epoch`].
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Relaxed)
}

/// Whether vCPUs have profiles, where there is memory for them.
pub(crate) fn per_vcpu() -> bool {
    // SAFETY: It is set before `init()` begins, and not again.
    unsafe { bindings::exitprof_per_vcpu }
}

/// The number of the scope that guests read, a [`Scope`] or 0 for none.
pub(crate) fn scope() -> u8 {
    // SAFETY: An aligned word, which its parameter may change at any time.
    let scope = unsafe { ptr::read_volatile(ptr::addr_of!(bindings::exitprof_scope)) };
    scope as u8
}

/// The host's totals while a profiler is registered.
///
/// # Safety
///
/// `'a` must end with the call that KVM has made of us, or with the hold of the
/// parameters' lock in which the function is called, or with the reading of a
/// file of the host's, which holds the module.
pub(crate) unsafe fn totals<'a>() -> Option<Totals<'a>> {
    let slots = SLOTS.load(Relaxed);
    // SAFETY: `Profiler` frees the memory after the last call from KVM has
    // returned, with its pointer taken back under the lock, and when the module
    // is unloaded, which nobody holds then by an open file.
    (!slots.is_null()).then(|| unsafe { Totals::new(slots) })
}

type Ops = bindings::kvm_exit_profiler;
type Record = unsafe extern "C" fn(*mut bindings::kvm_vcpu, u32, u64);

/// What KVM calls.
const fn new_ops(record: Record) -> Ops {
    Ops {
        version: bindings::KVM_EXIT_PROFILER_VERSION,
        size: mem::size_of::<Ops>() as u32,
        record: Some(record),
        cpuid: Some(cpuid),
        attach: None,
        detach: None,
    }
}

/// The same, where vCPUs have profiles.
const fn new_vcpu_ops(record: Record) -> Ops {
    Ops {
        attach: Some(vcpu::attach),
        detach: Some(vcpu::detach),
        ..new_ops(record)
    }
}

static VMX_OPS: Ops = new_ops(record_vmx);
static SVM_OPS: Ops = new_ops(record_svm);
static VMX_VCPU_OPS: Ops = new_vcpu_ops(record_vmx_vcpu);
static SVM_VCPU_OPS: Ops = new_vcpu_ops(record_svm_vcpu);

fn ops() -> &'static Ops {
    match (isa(), per_vcpu()) {
        (Isa::Vmx, false) => &VMX_OPS,
        (Isa::Svm, false) => &SVM_OPS,
        (Isa::Vmx, true) => &VMX_VCPU_OPS,
        (Isa::Svm, true) => &SVM_VCPU_OPS,
    }
}

/// Records an exit by its basic exit reason.
///
/// # Safety
///
/// As for [`record`].
unsafe extern "C" fn record_vmx(_vcpu: *mut bindings::kvm_vcpu, reason: u32, cycles: u64) {
    // SAFETY: By this function's contract.
    unsafe { record(Isa::Vmx, reason, cycles) };
}

/// Records an exit by its exit code.
///
/// # Safety
///
/// As for [`record`].
unsafe extern "C" fn record_svm(_vcpu: *mut bindings::kvm_vcpu, code: u32, cycles: u64) {
    // SAFETY: By this function's contract.
    unsafe { record(Isa::Svm, code, cycles) };
}

/// Records an exit by its basic exit reason, for the vCPU too.
///
/// # Safety
///
/// As for [`record_vcpu`].
unsafe extern "C" fn record_vmx_vcpu(vcpu: *mut bindings::kvm_vcpu, reason: u32, cycles: u64) {
    // SAFETY: By this function's contract.
    unsafe { record_vcpu(Isa::Vmx, vcpu, reason, cycles) };
}

/// Records an exit by its exit code, for the vCPU too.
///
/// # Safety
///
/// As for [`record_vcpu`].
unsafe extern "C" fn record_svm_vcpu(vcpu: *mut bindings::kvm_vcpu, code: u32, cycles: u64) {
    // SAFETY: By this function's contract.
    unsafe { record_vcpu(Isa::Svm, vcpu, code, cycles) };
}

/// Records an exit of `reason`, which may be any number.
///
/// # Safety
///
/// Called by KVM with preemption disabled, while a [`Profiler`] for `isa` is
/// registered.
#[inline(always)]
unsafe fn record(isa: Isa, reason: u32, cycles: u64) {
    // SAFETY: By this function's contract, and `Isa::slot()` is below the number
    // of slots.
    unsafe { add(isa.slot(reason), cycles) };
}

/// As [`record`] does, and for the vCPU: in its profile, or as unattributed.
///
/// # Safety
///
/// Called by KVM as [`record`] is, in the task of `vcpu`, whose profile [`vcpu`]
/// has made.
#[inline(always)]
unsafe fn record_vcpu(isa: Isa, vcpu: *mut bindings::kvm_vcpu, reason: u32, cycles: u64) {
    let slot = isa.slot(reason);
    // SAFETY: By this function's contract, `Isa::slot()` is below the number of
    // slots, of which there are twice as many in `SLOTS` and once in a profile,
    // which KVM detaches only when we are not called. Only the vCPU's task writes
    // its counters, so that what is true of a CPU's is true of them: see `add()`.
    unsafe {
        add(slot, cycles);
        let profile = vcpu.cast::<u8>().add(bindings::EXITPROF_PROFILE as usize);
        let profile = (*profile.cast::<AtomicPtr<u8>>()).load(Relaxed);
        if profile.is_null() {
            add(slot.wrapping_add(isa.slots()), cycles);
        } else {
            asm!(
                "inc qword ptr [{profile} + {offset}]",
                "add qword ptr [{profile} + {offset} + 8], {cycles}",
                profile = in(reg) profile,
                offset = in(reg) slot.wrapping_mul(mem::size_of::<Counter>()),
                cycles = in(reg) cycles,
                options(nostack),
            );
        }
    }
}

/// Adds an exit to the CPU's counters of `slot`.
///
/// # Safety
///
/// Preemption is disabled, and a [`Profiler`] registered; `slot` is below twice
/// the number of slots.
#[inline(always)]
unsafe fn add(slot: usize, cycles: u64) {
    // SAFETY: `SLOTS` is per-CPU memory while the profiler is registered. Aligned
    // additions are atomic with regard to this CPU, the only one that writes its
    // counters, and to other CPUs' loads.
    unsafe {
        asm!(
            "inc qword ptr gs:[{slots} + {offset}]",
            "add qword ptr gs:[{slots} + {offset} + 8], {cycles}",
            slots = in(reg) SLOTS.load(Relaxed),
            offset = in(reg) slot.wrapping_mul(mem::size_of::<Counter>()),
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

/// Answers a guest's CPUID; false if it is not for us.
///
/// # Safety
///
/// Called by KVM in a vCPU's task under `rcu_read_lock()`, while [`Profiler`]
/// is registered; the pointers are valid for the call, and to different things.
unsafe extern "C" fn cpuid(
    vcpu: *mut bindings::kvm_vcpu,
    eax: *mut u32,
    ebx: *mut u32,
    ecx: *mut u32,
    edx: *mut u32,
) -> bool {
    // SAFETY: By this function's contract.
    let (leaf, parameter) = unsafe { (*eax, *ecx) };
    // SAFETY: KVM has called us, and `guest` ends before we return.
    let (query, mut guest) = match (Query::new(leaf, parameter), unsafe { Guest::new(vcpu) }) {
        (Some(query), Some(guest)) => (query, guest),
        _ => return false,
    };
    let answer = query.answer(&mut guest);
    // SAFETY: By this function's contract.
    unsafe { log::query(vcpu, query, (leaf, parameter), answer) };

    let out = Registers::from(answer);
    // SAFETY: By this function's contract.
    unsafe { (*eax, *ebx, *ecx, *edx) = (out.eax, out.ebx, out.ecx, out.edx) };
    true
}

/// The registration with KVM, and the counters.
///
/// The parameters' lock is held when it is made or unregistered; dropping it
/// after that only frees the counters.
pub(crate) struct Profiler {
    slots: PerCpu<Counter>,
}

impl Profiler {
    /// Registers a profiler whose counters are zero.
    ///
    /// # Errors
    ///
    /// `ENODEV` without VMX or SVM, `ENOMEM`, `EBUSY` if KVM has a profiler already,
    /// `EINVAL` if KVM's contract is of another version.
    pub(crate) fn register() -> Result<Profiler> {
        // SAFETY: Every CPU that runs this kernel has the instruction, and both
        // leaves.
        let features = |leaf| unsafe { core::arch::x86_64::__cpuid(leaf) }.ecx;
        let is_vmx = features(1) & CPUID_1_ECX_VMX != 0;
        let is_svm = features(0x8000_0001) & CPUID_80000001_ECX_SVM != 0;
        if !is_vmx && !is_svm {
            pr_info!("cannot load: the CPU has neither VMX nor SVM\n");
            return Err(errno(bindings::ENODEV));
        }
        IS_SVM.store(!is_vmx, Relaxed);
        if !per_vcpu() && scope() > Scope::Host as u8 {
            pr_info!("cannot load: per_vcpu=N has only scope=host and scope=off\n");
            return Err(errno(bindings::EINVAL));
        }

        let slots = PerCpu::try_new(isa().slots().wrapping_mul(2))?;
        // SAFETY: It has no requirements.
        EPOCH.store(unsafe { bindings::get_random_u32() }, Relaxed);
        SLOTS.store(slots.as_ptr(), Relaxed);
        // SAFETY: `ops()` live as long as the module, which goes only after
        // `unregister()`.
        let r = unsafe { bindings::kvm_register_exit_profiler(ops()) };
        if r < 0 {
            SLOTS.store(ptr::null_mut(), Relaxed);
            pr_info!("cannot load: KVM refuses the profiler, error {r}\n");
            return Err(errno(r.unsigned_abs()));
        }
        Ok(Profiler { slots })
    }

    /// Switches the recording of exits on or off, if a profiler is registered.
    /// The caller holds the parameters' lock.
    pub(crate) fn set_sampling(on: bool) {
        if !SLOTS.load(Relaxed).is_null() {
            // SAFETY: The pointer shows that `ops()` are registered, and the
            // lock that they stay so.
            unsafe { bindings::kvm_set_exit_sampling(ops(), on) };
        }
    }

    /// Unregisters; what was counted can still be read.
    pub(crate) fn unregister(&mut self) -> Totals<'_> {
        if !SLOTS.load(Relaxed).is_null() {
            // SAFETY: The pointer shows that `ops()` are registered.
            unsafe { bindings::kvm_unregister_exit_profiler(ops()) };
            SLOTS.store(ptr::null_mut(), Relaxed);
            Vcpus::end();
        }
        // SAFETY: `self.slots` lives as long as the borrow.
        unsafe { Totals::new(self.slots.as_ptr()) }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.unregister();
    }
}
