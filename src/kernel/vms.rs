// SPDX-License-Identifier: GPL-2.0

//! The list of VMs.
//!
//! A VM is added with its first vCPU. It is freed when its last vCPU has ended and no
//! reading is in progress. So readers walk the list without a lock: see `reading`.
//!
//! When a vCPU ends, its counts are added to those of ended vCPUs, so no exit is lost.

use crate::{
    config,
    details::EndedDetails,
    profile::{counts::Tally, isa::Isa, phases::Spent, trips::TripTable},
    sys::{
        contract::VcpuInfo,
        cpu,
        lock::{Mutex, VmsMutex},
    },
    vm::{Vcpu, Vm},
};
use core::{
    ffi::c_void,
    iter::successors,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use kernel::prelude::*;

/// Tallies by slot.
pub(crate) type Tallies = [Tally; Isa::MAX_SLOTS];

pub(crate) const NO_EXITS: Tallies = [Tally {
    exits: 0,
    cycles: 0,
    untimed: 0,
}; Isa::MAX_SLOTS];

/// What is known of vCPUs that have ended.
pub(crate) struct Ended {
    pub(crate) tallies: Tallies,
    pub(crate) phases: EndedPhases,
    pub(crate) details: EndedDetails,
}

/// The sums of the phases of vCPUs that have ended.
pub(crate) struct EndedPhases {
    /// The cycles from the begin to the end of their clocks.
    pub(crate) elapsed: u64,
    /// The cycles in the guest.
    pub(crate) guest: u64,
    /// The cycles by slot, and those before the first exit.
    pub(crate) spent: [Spent; Isa::MAX_SLOTS + 1],
    /// Exits to userspace.
    pub(crate) trips: TripTable,
}

impl Ended {
    #[allow(clippy::declare_interior_mutable_const)] // Each use has sums of its own.
    pub(crate) const NONE: Ended = Ended {
        tallies: NO_EXITS,
        phases: EndedPhases {
            elapsed: 0,
            guest: 0,
            spent: [Spent::NONE; Isa::MAX_SLOTS + 1],
            trips: TripTable::EMPTY,
        },
        details: EndedDetails::NONE,
    };

    /// Adds a vCPU that has ended.
    fn add(&mut self, vcpu: &Vcpu) {
        let cells = vcpu.cells();
        for (slot, ended) in self.tallies.iter_mut().enumerate() {
            *ended = *ended + cells.slot(slot);
        }
        vcpu.head.details.add_to(&mut self.details);
        let phases = match vcpu.head.phases.get() {
            Some(phases) => phases,
            None => return,
        };
        // KVM's state exists until the vCPU has ended.
        phases.stop(cpu::tsc());
        let (since, until) = phases.period();
        let sum = &mut self.phases;
        sum.elapsed = sum.elapsed.wrapping_add(until.wrapping_sub(since));
        sum.guest = sum.guest.wrapping_add(phases.guest());
        for (slot, spent) in sum.spent.iter_mut().enumerate() {
            *spent = *spent + phases.spent(slot);
        }
        sum.trips.add_all(&phases.trips);
    }

    fn copy_from(&mut self, other: &Ended) {
        self.tallies.copy_from_slice(&other.tallies);
        let (to, from) = (&mut self.phases, &other.phases);
        to.elapsed = from.elapsed;
        to.guest = from.guest;
        to.spent.copy_from_slice(&from.spent);
        to.trips.copy_from(&from.trips);
        self.details.copy_from(&other.details);
    }

    /// Sets all to zero. It is too large for the stack.
    pub(crate) fn clear(&mut self) {
        self.tallies.copy_from_slice(&NO_EXITS);
        self.phases.elapsed = 0;
        self.phases.guest = 0;
        for spent in &mut self.phases.spent {
            *spent = Spent::NONE;
        }
        self.phases.trips.clear();
        self.details.clear();
    }
}

/// The VM that was added last. Written under [`VMS`].
static LAST: AtomicPtr<Vm> = AtomicPtr::new(ptr::null_mut());

/// What [`VMS`] protects, besides the list.
struct Vms {
    /// The number of vCPUs that have not ended.
    vcpus: usize,
    ended: Ended,
    /// The number of readings that have begun, plus 1.
    generation: u64,
    /// Whether a reading is in progress, which keeps all VMs in the list.
    reading: bool,
}

// Held for short loops over VMs or slots. The mutexes of phases are taken under it; their
// holders do not sleep either.
// SAFETY: No other `Mutex` has this mutex.
static VMS: Mutex<VmsMutex, Vms> = unsafe {
    Mutex::new(
        VmsMutex,
        Vms {
            vcpus: 0,
            ended: Ended::NONE,
            generation: 1,
            reading: false,
        },
    )
};

/// All VMs of the list, from the last on.
///
/// # Safety
///
/// No VM leaves the list meanwhile: the caller holds [`VMS`], or is between
/// [`begin_reading`] and [`end_reading`].
pub(crate) unsafe fn all() -> impl Iterator<Item = NonNull<Vm>> {
    let vm = |link: &AtomicPtr<Vm>| NonNull::new(link.load(Acquire));
    successors(vm(&LAST), move |last| {
        // SAFETY: The caller guarantees that no VM leaves the list, and so none is freed.
        vm(unsafe { &last.as_ref().next })
    })
}

impl Vms {
    /// The VM with `number` that has a vCPU which has not ended.
    fn find(&self, number: u64) -> Option<NonNull<Vm>> {
        // SAFETY: `self` is borrowed from `VMS`, so the lock is held: here and below.
        let mut all = unsafe { all() };
        all.find(|vm| unsafe { vm.as_ref().number == number && vm.as_ref().is_live() })
    }

    /// Adds a new VM to the list.
    fn add(&mut self, vm: NonNull<Vm>) {
        // SAFETY: The VM came from `try_new()`, and only the caller has it.
        unsafe { vm.as_ref() }
            .next
            .store(LAST.load(Relaxed), Relaxed);
        LAST.store(vm.as_ptr(), Release);
    }

    /// Removes a VM from the list.
    fn remove(&mut self, gone: NonNull<Vm>) {
        let mut link = &LAST;
        // SAFETY: The lock is held, so no VM of the list is freed.
        while let Some(vm) = unsafe { link.load(Relaxed).as_ref() } {
            if ptr::eq(vm, gone.as_ptr()) {
                return link.store(vm.next.load(Relaxed), Release);
            }
            link = &vm.next;
        }
    }
}

/// Makes a profile for a vCPU.
///
/// # Errors
///
/// `ENOMEM`.
///
/// # Context
///
/// May sleep.
pub(crate) fn attach(info: &VcpuInfo) -> Result<NonNull<c_void>> {
    // SAFETY: The vCPU is dropped, or passed to `Vm::add()`.
    let vcpu = unsafe { Vcpu::try_new(info) }?;
    if config::per_vcpu() {
        vcpu.head.details.make_nested()?;
    }
    let mut vms = VMS.lock();
    let vm = match vms.find(info.vm) {
        Some(vm) => vm,
        None => {
            // The allocation may sleep for long, so the lock is released.
            drop(vms);
            let new = Vm::try_new(info)?;
            vms = VMS.lock();
            match vms.find(info.vm) {
                // Another vCPU has added the VM meanwhile.
                Some(vm) => {
                    // SAFETY: `new` is in no list, and only this function has it.
                    unsafe { Vm::free(new) };
                    vm
                }
                None => {
                    vms.add(new);
                    new
                }
            }
        }
    };
    vms.vcpus = vms.vcpus.wrapping_add(1);
    // SAFETY: The lock is held, and the VM is in the list.
    let profile = unsafe { Vm::add(vm, vcpu) };
    drop(vms);
    // SAFETY: KVM does not end a vCPU that is not attached yet.
    let vcpu = unsafe { Vcpu::borrow(profile) };
    // After the vCPU is in the list: see `Reading::make_phases()`.
    if config::phases() {
        make_phases(vcpu);
    }
    vcpu.head.details.make();
    Ok(profile)
}

/// Makes a place for the phases of a vCPU, unless it has one or has ended. Without memory,
/// its phases are not recorded.
///
/// # Context
///
/// May sleep.
pub(crate) fn make_phases(vcpu: &Vcpu) {
    if let Ok(phases) = vcpu.head.phases.make() {
        let _vms = VMS.lock();
        if vcpu.is_live() {
            // SAFETY: The vCPU ends under the lock, and `Ended::add()` calls `stop()` then. When
            // KVM is to forget all vCPUs, recording has been stopped before.
            unsafe { phases.begin(vcpu.head.pause) };
        }
    }
}

/// Ends a vCPU. Returns its VM if it was the VM's last vCPU. The caller then removes the
/// VM's directory, and calls [`retire`].
///
/// # Safety
///
/// `profile` came from [`attach`]. KVM has forgotten it, and the vCPU has no directory any
/// more.
pub(crate) unsafe fn end(profile: NonNull<c_void>) -> Option<NonNull<Vm>> {
    let mut vms = VMS.lock();
    // SAFETY: The vCPU has not ended, so its VM is not freed before the lock is released.
    let vcpu = unsafe { Vcpu::borrow(profile) };
    vms.ended.add(vcpu);
    vms.vcpus = vms.vcpus.saturating_sub(1);
    // SAFETY: The lock is held, and the caller ends each vCPU once.
    unsafe { vcpu.end(vms.generation) }
}

/// Frees a VM, now or when the reading in progress ends.
///
/// # Safety
///
/// [`end`] returned the VM to the caller, and the VM has no directory any more.
pub(crate) unsafe fn retire(vm: NonNull<Vm>) {
    let mut vms = VMS.lock();
    if vms.reading {
        // SAFETY: The lock is held, and protects `retired`. Only this function and the
        // reading, to which it hands over, free the VM.
        unsafe { *vm.as_ref().retired.get() = true };
        return;
    }
    vms.remove(vm);
    drop(vms);
    // SAFETY: The VM was removed from the list, and the caller guarantees that all its
    // vCPUs have ended.
    unsafe { Vm::free(vm) };
}

/// The state when a reading begins: see [`begin_reading`].
pub(crate) struct Begun {
    /// The generation of the reading. vCPUs that end from now on have it, or a later one.
    pub(crate) generation: u64,
    /// The number of vCPUs.
    pub(crate) vcpus: usize,
}

/// Begins a reading: keeps all VMs in the list until [`end_reading`], and copies the
/// sums of vCPUs that have ended to `ended`.
///
/// # Safety
///
/// There is no other reading until [`end_reading`]: the end of any reading frees VMs.
pub(crate) unsafe fn begin_reading(ended: &mut Ended) -> Begun {
    let mut vms = VMS.lock();
    vms.generation = vms.generation.wrapping_add(1);
    vms.reading = true;
    ended.copy_from(&vms.ended);
    Begun {
        generation: vms.generation,
        vcpus: vms.vcpus,
    }
}

/// Forgets what vCPUs that have ended had.
pub(crate) fn clear_ended() {
    VMS.lock().ended.clear();
}

/// Ends a reading: frees the VMs that it kept.
///
/// # Safety
///
/// Called once after [`begin_reading`]. Nobody uses a VM any more that was found in
/// between.
pub(crate) unsafe fn end_reading() {
    let mut kept: *mut Vm = ptr::null_mut();
    let mut vms = VMS.lock();
    vms.reading = false;
    // SAFETY: The lock is held, so no VM leaves the list, and it protects `retired`.
    let retired = |vm: &NonNull<Vm>| unsafe { *vm.as_ref().retired.get() };
    while let Some(vm) = unsafe { all() }.find(retired) {
        vms.remove(vm);
        // SAFETY: The VM was removed from the list, and only this function has it.
        unsafe { vm.as_ref() }.next.store(kept, Relaxed);
        kept = vm.as_ptr();
    }
    drop(vms);
    while let Some(vm) = NonNull::new(kept) {
        // SAFETY: The VM was removed from the list above. The caller guarantees that
        // nobody uses it any more.
        unsafe {
            kept = vm.as_ref().next.load(Relaxed);
            Vm::free(vm);
        }
    }
}
