// SPDX-License-Identifier: GPL-2.0

//! The profiler that KVM calls: it counts exits and answers CPUID.
//!
//! Each CPU writes only its own counters, by single instructions relative to
//! its per-CPU base: atomic where it matters without a lock prefix. Readers sum
//! over all CPUs.

use crate::{
    bindings, errno, log,
    percpu::{Counters, PerCpu},
    profile::{
        counts::{Counter, Cpus, Profile, Sample},
        leaf::{self, Protocol, Query, Registers, Scope},
        reason::Isa,
    },
};
use core::{
    arch::asm,
    marker::PhantomData,
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

// [`record`] knows how a counter is laid out.
const _: () = assert!(mem::size_of::<Counter>() == 16);

// SAFETY: `AtomicU64` may be zero, and be read while it is changed.
unsafe impl Counters for Counter {}

/// The counters in use, [`Isa::slots`] for each CPU; null unless a [`Profiler`]
/// is registered.
///
/// Relaxed accesses are enough: KVM calls `record()` only after a grace period
/// and after changing code, and `cpuid()` through the pointer that it publishes,
/// ahead of which x86 does no load of ours; the parameters' lock is for the rest.
static SLOTS: AtomicPtr<Counter> = AtomicPtr::new(ptr::null_mut());

/// Whether the CPU has SVM, and not VMX; set before [`SLOTS`].
static IS_SVM: AtomicBool = AtomicBool::new(false);

/// The instruction set whose exits are recorded.
fn isa() -> Isa {
    if IS_SVM.load(Relaxed) {
        Isa::Svm
    } else {
        Isa::Vmx
    }
}

/// Changes when the counters start from zero.
static EPOCH: AtomicU32 = AtomicU32::new(0);

type Ops = bindings::kvm_exit_profiler;

/// What KVM calls where the CPU has VMX.
static VMX_OPS: Ops = Ops {
    record: Some(record_vmx),
    ..SVM_OPS
};

/// What KVM calls where the CPU has SVM.
static SVM_OPS: Ops = Ops {
    version: bindings::KVM_EXIT_PROFILER_VERSION,
    size: mem::size_of::<Ops>() as u32,
    record: Some(record_svm),
    cpuid: Some(cpuid),
};

fn ops() -> &'static Ops {
    match isa() {
        Isa::Vmx => &VMX_OPS,
        Isa::Svm => &SVM_OPS,
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

/// Records an exit of `reason`, which may be any number.
///
/// # Safety
///
/// Called by KVM with preemption disabled, while a [`Profiler`] for `isa` is
/// registered.
#[inline(always)]
unsafe fn record(isa: Isa, reason: u32, cycles: u64) {
    let offset = isa.slot(reason).wrapping_mul(mem::size_of::<Counter>());
    // SAFETY: `SLOTS` is per-CPU memory while the profiler is registered, and
    // `Isa::slot()` is below the number of slots in it. Aligned additions are
    // atomic with regard to this CPU, the only one that writes its counters,
    // and to other CPUs' loads.
    unsafe {
        asm!(
            "inc qword ptr gs:[{slots} + {offset}]",
            "add qword ptr gs:[{slots} + {offset} + 8], {cycles}",
            slots = in(reg) SLOTS.load(Relaxed),
            offset = in(reg) offset,
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
    let (leaf, parameter, vm) = unsafe { (*eax, *ecx, bindings::exitprof_vm_id(vcpu)) };
    // SAFETY: KVM has called us, and `totals` ends before we return.
    let totals = match unsafe { Totals::current() } {
        Some(totals) => totals,
        None => return false,
    };
    let query = match Query::new(leaf, parameter) {
        Some(query) => query,
        None => return false,
    };
    let answer = query.answer(&totals);
    log::query(vm, query, (leaf, parameter), answer);

    let out = Registers::from(answer);
    // SAFETY: By this function's contract.
    unsafe { (*eax, *ebx, *ecx, *edx) = (out.eax, out.ebx, out.ecx, out.edx) };
    true
}

/// The host's totals: the counters of all CPUs, summed as they are asked for.
///
/// # Invariants
///
/// The pointer is that of a `PerCpu` of [`Isa::slots`] that lives for `'a`.
pub(crate) struct Totals<'a>(*mut Counter, PhantomData<&'a Counter>);

impl<'a> Totals<'a> {
    /// Those of the registered profiler, if there is one.
    ///
    /// # Safety
    ///
    /// `'a` must end with the call that KVM has made of us, or with the hold of
    /// the parameters' lock, in which the function is called.
    pub(crate) unsafe fn current() -> Option<Totals<'a>> {
        let slots = SLOTS.load(Relaxed);
        // INVARIANT: `Profiler` frees the memory after the last call from KVM
        // has returned, and with its pointer taken back under the lock.
        (!slots.is_null()).then(|| Totals(slots, PhantomData))
    }

    /// The counters of each CPU.
    fn cpus(&self) -> impl Iterator<Item = &'a [Counter]> {
        // SAFETY: By the type's invariant.
        unsafe { PerCpu::arrays(self.0, isa().slots()) }
    }
}

impl Profile for Totals<'_> {
    fn isa(&self) -> Isa {
        isa()
    }

    fn slot(&self, slot: usize) -> Sample {
        Cpus(self.cpus()).slot(slot)
    }

    fn sum(&self, wanted: impl Fn(usize) -> bool) -> Sample {
        Cpus(self.cpus()).sum(wanted)
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: leaf::VERSION,
            isa: isa() as u8,
            scope: Scope::Host as u8,
            features: 0,
            epoch: EPOCH.load(Relaxed),
            // SAFETY: An aligned word, which the kernel may refine at any time.
            tsc_khz: unsafe { ptr::read_volatile(ptr::addr_of!(bindings::tsc_khz)) },
        }
    }
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

        let slots = PerCpu::try_new(isa().slots())?;
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
        }
        // INVARIANT: `self.slots` lives as long as the borrow.
        Totals(self.slots.as_ptr(), PhantomData)
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.unregister();
    }
}
