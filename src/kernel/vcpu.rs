// SPDX-License-Identifier: GPL-2.0

//! A profile of each vCPU: which exits are its own.
//!
//! KVM keeps the pointer in the vCPU, whose task alone writes the counters. What
//! a vCPU has counted is added to [`Vcpus::ended`] when it ends, so that nothing
//! is lost with a VM.

use crate::{
    bindings,
    counters::{Block, Owned, Wait},
    profile::{
        counts::{Counter, Sample},
        leaf::{Scope, Snapshot},
        reason::Isa,
    },
};
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};
use kernel::prelude::*;

/// A vCPU's counters.
pub(crate) type VcpuProfile = Block<Head>;

/// Whose they are.
pub(crate) struct Head {
    pub(crate) vm: Vm,
    /// The vCPU's number in its VM.
    pub(crate) id: u32,
    /// Its place in [`Vcpus`], under the lock of these.
    index: AtomicUsize,
    snapshot: UnsafeCell<Held>,
}

/// A VM.
#[derive(Clone, Copy)]
pub(crate) struct Vm {
    /// A number, which no other VM has while it lives.
    pub(crate) number: u64,
    name: [u8; bindings::EXITPROF_VM_NAME as usize],
}

impl Vm {
    /// What KVM's debugfs calls it: the process, and its file for the VM.
    pub(crate) fn name(&self) -> &str {
        let len = self.name.iter().position(|&byte| byte == 0);
        let name = len.and_then(|len| self.name.get(..len));
        name.and_then(|name| core::str::from_utf8(name).ok())
            .unwrap_or("")
    }
}

/// What the numbers of a snapshot mean: whose they are, and the epoch. When that is
/// another, the snapshot is void.
pub(crate) type Meaning = (Scope, u32);

/// What a vCPU holds for [`Snapshot`].
#[derive(Default)]
struct Held {
    block: Option<(Meaning, Owned<()>)>,
    taken: u32,
}

/// The profile of `vcpu`, unless it has none.
///
/// # Safety
///
/// `vcpu` is valid, and not destroyed during `'a`, which ends before KVM's
/// `unregister()` does.
pub(crate) unsafe fn profile<'a>(vcpu: *const bindings::kvm_vcpu) -> Option<&'a VcpuProfile> {
    // SAFETY: By the caller's promise.
    let thin = NonNull::new(unsafe { bindings::exitprof_profile(vcpu) })?;
    // SAFETY: KVM got it from `attach()`, and keeps it until `detach()`.
    Some(unsafe { &*VcpuProfile::from_thin(thin) })
}

/// Calls `each` for the profiles of all vCPUs of the VM that `vcpu` is of.
///
/// # Safety
///
/// `vcpu` is valid and running, and KVM's `unregister()` does not end meanwhile.
pub(crate) unsafe fn of_vm(vcpu: *const bindings::kvm_vcpu, mut each: impl FnMut(&VcpuProfile)) {
    let mut index = 0;
    loop {
        // SAFETY: By the caller's promise.
        let sibling = unsafe { bindings::exitprof_vm_vcpu(vcpu, index) };
        if sibling.is_null() {
            return;
        }
        // SAFETY: It is online, and such vCPUs go with the VM, in which one runs.
        if let Some(profile) = unsafe { profile(sibling) } {
            each(profile);
        }
        index = index.wrapping_add(1);
    }
}

impl VcpuProfile {
    /// The snapshot that the vCPU holds, if it is of that meaning.
    ///
    /// # Safety
    ///
    /// Called by the vCPU's task; what is returned is gone before the next call of
    /// `set_snapshot()`.
    pub(crate) unsafe fn snapshot(&self, meaning: Meaning) -> (Option<&Block<()>>, Snapshot) {
        // SAFETY: Only the vCPU's task comes here, by the caller's promise.
        let held = unsafe { &*self.head.snapshot.get() };
        let block = match &held.block {
            Some((of, block)) if *of == meaning => Some(&**block),
            _ => None,
        };
        let snapshot = Snapshot {
            held: block.is_some(),
            taken: held.taken,
        };
        (block, snapshot)
    }

    /// Holds another snapshot, or none.
    ///
    /// # Safety
    ///
    /// As for `snapshot()`.
    pub(crate) unsafe fn set_snapshot(&self, block: Option<(Meaning, Owned<()>)>) {
        // SAFETY: As there.
        let held = unsafe { &mut *self.head.snapshot.get() };
        held.taken = held.taken.wrapping_add(block.is_some().into());
        held.block = block;
    }
}

/// All profiles, and what those had counted that have ended.
pub(crate) struct Vcpus {
    profiles: Vec<NonNull<c_void>>,
    /// By slot.
    pub(crate) ended: [Sample; Isa::MAX_SLOTS],
}

/// [`Vcpus`], for whoever holds the lock.
struct Locked(UnsafeCell<Vcpus>);

// SAFETY: It is used under the lock alone. Of the profiles, others than their vCPUs'
// tasks use what is atomic, and what was set before they were listed.
unsafe impl Sync for Locked {}

static VCPUS: Locked = Locked(UnsafeCell::new(Vcpus {
    profiles: Vec::new(),
    ended: [Sample {
        exits: 0,
        cycles: 0,
    }; Isa::MAX_SLOTS],
}));

impl Vcpus {
    /// Calls `with` under the lock. KVM's lock of profilers may be held, but
    /// nobody takes that in `with`, nor waits for another task.
    pub(crate) fn lock<T>(with: impl FnOnce(&mut Vcpus) -> T) -> T {
        // SAFETY: Callers may sleep: KVM's `attach()` and `detach()`, files that
        // are read or written, parameters, loading and unloading. None of them holds the lock.
        unsafe { bindings::exitprof_vcpus_lock() };
        // SAFETY: The lock is held.
        let result = with(unsafe { &mut *VCPUS.0.get() });
        // SAFETY: It was taken above.
        unsafe { bindings::exitprof_vcpus_unlock() };
        result
    }

    /// Frees what the list took, when no vCPU has a profile any more.
    pub(crate) fn end() {
        Vcpus::lock(|vcpus| vcpus.profiles = Vec::new());
    }

    /// Makes all counters zero, while none of them is added to.
    pub(crate) fn clear(&mut self) {
        let counters = self.profiles().flat_map(|profile| &profile.counters);
        counters.for_each(Counter::clear);
        self.ended = [Sample::default(); Isa::MAX_SLOTS];
    }

    /// All profiles, in no order.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = &VcpuProfile> {
        let profile = |&thin: &NonNull<c_void>| {
            // SAFETY: `detach()` takes it out of the list before it frees it.
            unsafe { &*VcpuProfile::from_thin(thin) }
        };
        self.profiles.iter().map(profile)
    }

    /// Those of a VM's vCPUs.
    pub(crate) fn of_vm(&self, number: u64) -> impl Iterator<Item = &VcpuProfile> {
        self.profiles()
            .filter(move |profile| profile.head.vm.number == number)
    }
}

/// Makes a profile for a vCPU; without memory, it has none.
///
/// # Safety
///
/// Called by KVM: see `attach()` in `asm/kvm_exit_profiler.h`.
pub(crate) unsafe extern "C" fn attach(vcpu: *mut bindings::kvm_vcpu) -> *mut c_void {
    let mut name = [0; bindings::EXITPROF_VM_NAME as usize];
    // SAFETY: KVM's `vcpu` is valid, and `name` has the room that is written to.
    let (number, id) = unsafe {
        bindings::exitprof_vm_name(vcpu, name.as_mut_ptr().cast());
        (
            bindings::exitprof_vm_number(vcpu),
            bindings::exitprof_vcpu_id(vcpu),
        )
    };
    let head = Head {
        vm: Vm { number, name },
        id,
        index: AtomicUsize::new(0),
        snapshot: UnsafeCell::default(),
    };
    let profile = match Owned::try_new(head, Wait::Yes) {
        Ok(profile) => profile.into_thin(),
        Err(_) => return core::ptr::null_mut(),
    };
    let pushed = Vcpus::lock(|vcpus| {
        // SAFETY: It is nobody else's yet.
        let head = unsafe { &(*VcpuProfile::from_thin(profile)).head };
        head.index.store(vcpus.profiles.len(), Relaxed);
        vcpus.profiles.try_push(profile)
    });
    if pushed.is_err() {
        // SAFETY: It was given away just above, and is in no list.
        drop(unsafe { Owned::<Head>::from_thin(profile) });
        return core::ptr::null_mut();
    }
    // SAFETY: KVM's `vcpu` is valid; `detach()` removes the file before the profile.
    unsafe { bindings::exitprof_add_vcpu(vcpu, profile.as_ptr()) };
    profile.as_ptr()
}

/// Frees the profile of a vCPU that has one.
///
/// # Safety
///
/// Called by KVM: see `detach()` in `asm/kvm_exit_profiler.h`.
pub(crate) unsafe extern "C" fn detach(vcpu: *mut bindings::kvm_vcpu) {
    // SAFETY: KVM's `vcpu` is valid.
    let thin = match NonNull::new(unsafe { bindings::exitprof_profile(vcpu) }) {
        Some(thin) => thin,
        None => return,
    };
    // SAFETY: KVM got it from `attach()`, and lets nobody use it any more. Those
    // who have found it in the list are done when that is locked, and those who
    // read its file when that is removed.
    let profile = unsafe { Owned::<Head>::from_thin(thin) };
    let Head { vm, id, index, .. } = &profile.head;
    Vcpus::lock(|vcpus| {
        for (ended, counter) in vcpus.ended.iter_mut().zip(&profile.counters) {
            *ended = *ended + counter.load();
        }
        // Its place is the last one's now.
        let place = index.load(Relaxed);
        if let Some(last) = vcpus.profiles.pop().filter(|&last| last != thin) {
            // SAFETY: As in `profiles()`.
            let moved = unsafe { &*VcpuProfile::from_thin(last) };
            moved.head.index.store(place, Relaxed);
            if let Some(own) = vcpus.profiles.get_mut(place) {
                *own = last;
            }
        }
    });
    // SAFETY: The name ends with NUL.
    unsafe { bindings::exitprof_remove_vcpu(vm.number, vm.name.as_ptr().cast(), *id) };
}
