// SPDX-License-Identifier: GPL-2.0

//! The profiler that KVM calls: its registration, when its counters start from
//! zero, and its answers to CPUID.

use crate::{
    bindings,
    calibrate::calibrate,
    errno, log,
    profile::{
        leaf::{self, Query, Registers, Scope},
        reason::Isa,
    },
    record::{record, withdraw, Memory, Record, SLOTS},
    vcpu::{self, Vcpus},
    view::{Guest, Totals},
};
use core::{
    mem, ptr,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};
use kernel::prelude::*;

/// The bit of CPUID leaf 1's ECX that says that the CPU has VMX.
const CPUID_1_ECX_VMX: u32 = 1 << 5;
/// The bit of CPUID leaf 0x80000001's ECX that says that the CPU has SVM.
const CPUID_80000001_ECX_SVM: u32 = 1 << 2;

// KVM passes us the queries of the block that the protocol describes.
#[allow(clippy::assertions_on_constants)] // The one is from the model, the other from C.
const _: () = assert!(leaf::DISCOVERY == bindings::KVM_EXIT_PROFILER_CPUID_BASE);

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

/// Changes when the counters start from zero; 0 while they are set to it.
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// When they did so last, in nanoseconds of CLOCK_MONOTONIC.
static SINCE: AtomicU64 = AtomicU64::new(0);

/// See [`leaf::Protocol::epoch`].
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Acquire)
}

/// When the counters started from zero, in nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn since() -> u64 {
    SINCE.load(Relaxed)
}

/// Now, in such nanoseconds.
pub(crate) fn now() -> u64 {
    // SAFETY: It may be called in any context.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// Whether vCPUs have profiles, where there is memory for them.
pub(crate) fn per_vcpu() -> bool {
    // SAFETY: It is set before `init()` begins, and not again.
    unsafe { bindings::exitprof_per_vcpu }
}

/// Whether it is counted, too, how cycles are distributed.
pub(crate) fn distributions() -> bool {
    // SAFETY: As above.
    unsafe { bindings::exitprof_distributions }
}

/// Whether exits are recorded.
pub(crate) fn sampling() -> bool {
    // SAFETY: The kernel writes only true and false, as a single byte.
    unsafe { ptr::read_volatile(ptr::addr_of!(bindings::exitprof_sampling)) }
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

/// By what `record()` does: see there.
static OPS: [Ops; 8] = [
    new_ops(record::<false, false, false>),
    new_ops(record::<false, false, true>),
    new_vcpu_ops(record::<false, true, false>),
    new_vcpu_ops(record::<false, true, true>),
    new_ops(record::<true, false, false>),
    new_ops(record::<true, false, true>),
    new_vcpu_ops(record::<true, true, false>),
    new_vcpu_ops(record::<true, true, true>),
];

fn ops() -> &'static Ops {
    let svm = usize::from(isa() == Isa::Svm);
    let index = svm << 2 | usize::from(per_vcpu()) << 1 | usize::from(distributions());
    OPS.get(index).unwrap_or(&OPS[0])
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
    memory: Memory,
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

        let memory = Memory::try_new(isa(), distributions())?;
        memory.publish();
        let ops = ops();
        if let Some(record) = ops.record {
            // SAFETY: Its memory is in use, and KVM does not know of it yet.
            unsafe { calibrate(record) };
        }
        clear();
        // SAFETY: `ops` live as long as the module, which goes only after
        // `unregister()`.
        let r = unsafe { bindings::kvm_register_exit_profiler(ops) };
        if r < 0 {
            pr_info!("cannot load: KVM refuses the profiler, error {r}\n");
            return Err(errno(r.unsigned_abs()));
        }
        Ok(Profiler { memory })
    }

    /// Whether a profiler is registered. The caller holds the parameters' lock.
    fn is_registered() -> bool {
        !SLOTS.load(Relaxed).is_null()
    }

    /// Switches the recording of exits on or off, if a profiler is registered.
    /// The caller holds the parameters' lock.
    pub(crate) fn set_sampling(on: bool) {
        if Profiler::is_registered() {
            // SAFETY: `ops()` are registered, and the lock keeps them so.
            unsafe { bindings::kvm_set_exit_sampling(ops(), on) };
        }
    }

    /// Lets the counters start from zero, if a profiler is registered. Exits that
    /// begin or end meanwhile, which takes some milliseconds, are not counted. The
    /// caller holds the parameters' lock.
    pub(crate) fn reset() {
        if Profiler::is_registered() {
            // KVM records no exit while that is off, and drops those that began then.
            Profiler::set_sampling(false);
            clear();
            Profiler::set_sampling(sampling());
            SINCE.store(now(), Relaxed);
        }
    }

    /// Unregisters; what was counted can still be read.
    pub(crate) fn unregister(&mut self) -> Totals<'_> {
        if Profiler::is_registered() {
            // SAFETY: `ops()` are registered.
            unsafe { bindings::kvm_unregister_exit_profiler(ops()) };
            withdraw();
            Vcpus::end();
        }
        // SAFETY: The memory lives as long as the borrow.
        unsafe { Totals::new(self.memory.slots()) }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.unregister();
    }
}

/// Sets the counters that are in use to zero, while none of them is added to.
/// Guests, who cannot be made to wait, see epoch 0 meanwhile.
fn clear() {
    Vcpus::lock(|vcpus| {
        let next = match EPOCH.swap(0, AcqRel).wrapping_add(1) {
            // SAFETY: It has no requirements.
            1 => unsafe { bindings::get_random_u32() },
            next => next,
        };
        // SAFETY: The caller has put them into use, or the parameters' lock keeps them.
        if let Some(totals) = unsafe { totals() } {
            totals.clear();
        }
        vcpus.clear();
        SINCE.store(now(), Relaxed);
        EPOCH.store(next.max(1), Release);
    });
}
