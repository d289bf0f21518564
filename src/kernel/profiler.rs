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
        counts::{Profile, Sample},
        leaf::{self, Protocol, Query, Registers, Scope},
        reason::Isa,
    },
};
use core::{
    arch::asm,
    marker::PhantomData,
    mem, ptr,
    sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

/// The instruction set whose exits are recorded.
const ISA: Isa = Isa::Vmx;

/// The bit of CPUID leaf 1's ECX that says that the CPU has VMX.
const CPUID_1_ECX_VMX: u32 = 1 << 5;

// KVM passes us the queries of the block that the protocol describes.
#[allow(clippy::assertions_on_constants)] // The one is from the model, the other from C.
const _: () = assert!(leaf::DISCOVERY == bindings::KVM_EXIT_PROFILER_CPUID_BASE);

/// A CPU's counters of a slot. [`record`] knows this layout.
#[repr(C, align(16))]
struct Slot {
    exits: AtomicU64,
    cycles: AtomicU64,
}

impl Slot {
    fn load(&self) -> Sample {
        Sample {
            exits: self.exits.load(Relaxed),
            cycles: self.cycles.load(Relaxed),
        }
    }
}

/// A CPU's counters.
#[repr(transparent)]
struct Slots([Slot; ISA.slots()]);

// SAFETY: `AtomicU64` may be zero, and be read while it is changed.
unsafe impl Counters for Slots {}

/// The counters in use; null unless a [`Profiler`] is registered.
///
/// Relaxed accesses are enough: the registration with KVM publishes it to the
/// callbacks, and the parameters' lock to the rest.
static SLOTS: AtomicPtr<Slots> = AtomicPtr::new(ptr::null_mut());

/// Changes when the counters start from zero.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// What KVM calls.
static OPS: bindings::kvm_exit_profiler = bindings::kvm_exit_profiler {
    version: bindings::KVM_EXIT_PROFILER_VERSION,
    size: mem::size_of::<bindings::kvm_exit_profiler>() as u32,
    record: Some(record),
    cpuid: Some(cpuid),
};

/// Records an exit of `reason`, which may be any number.
///
/// # Safety
///
/// Called by KVM with preemption disabled, while [`Profiler`] is registered.
unsafe extern "C" fn record(_vcpu: *mut bindings::kvm_vcpu, reason: u32, cycles: u64) {
    let offset = ISA.slot(reason) * mem::size_of::<Slot>();
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
/// The pointer is that of a `PerCpu` that lives for `'a`.
pub(crate) struct Totals<'a>(*mut Slots, PhantomData<&'a Slots>);

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

    fn instances(&self) -> impl Iterator<Item = &'a Slots> {
        // SAFETY: By the type's invariant.
        unsafe { PerCpu::instances(self.0) }
    }
}

impl Profile for Totals<'_> {
    fn isa(&self) -> Isa {
        ISA
    }

    fn slot(&self, slot: usize) -> Sample {
        self.instances()
            .filter_map(|slots| slots.0.get(slot))
            .fold(Sample::default(), |sum, slot| sum + slot.load())
    }

    fn sum(&self, wanted: impl Fn(usize) -> bool) -> Sample {
        self.instances()
            .flat_map(|slots| slots.0.iter().enumerate())
            .filter(|&(index, _)| wanted(index))
            .fold(Sample::default(), |sum, (_, slot)| sum + slot.load())
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: leaf::VERSION,
            isa: ISA as u8,
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
    slots: PerCpu<Slots>,
}

impl Profiler {
    /// Registers a profiler whose counters are zero.
    ///
    /// # Errors
    ///
    /// `ENODEV` without VMX, `ENOMEM`, `EBUSY` if KVM has a profiler already,
    /// `EINVAL` if KVM's contract is of another version.
    pub(crate) fn register() -> Result<Profiler> {
        // SAFETY: Every CPU that runs this kernel has the instruction.
        let features = unsafe { core::arch::x86_64::__cpuid(1) };
        if features.ecx & CPUID_1_ECX_VMX == 0 {
            pr_info!("cannot load: the CPU has no VMX, whose exits are all that is known here\n");
            return Err(errno(bindings::ENODEV));
        }

        let slots = PerCpu::try_new()?;
        // SAFETY: It has no requirements.
        EPOCH.store(unsafe { bindings::get_random_u32() }, Relaxed);
        SLOTS.store(slots.as_ptr(), Relaxed);
        // SAFETY: `OPS` lives as long as the module, which goes only after
        // `unregister()`.
        let r = unsafe { bindings::kvm_register_exit_profiler(&OPS) };
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
            // SAFETY: The pointer shows that `OPS` is registered, and the lock
            // that it stays so.
            unsafe { bindings::kvm_set_exit_sampling(&OPS, on) };
        }
    }

    /// Unregisters; what was counted can still be read.
    pub(crate) fn unregister(&mut self) -> Totals<'_> {
        if !SLOTS.load(Relaxed).is_null() {
            // SAFETY: The pointer shows that `OPS` is registered.
            unsafe { bindings::kvm_unregister_exit_profiler(&OPS) };
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
