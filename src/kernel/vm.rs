// SPDX-License-Identifier: GPL-2.0

//! A VM, and the profiles of its vCPUs.
//!
//! KVM keeps the pointer to a profile in the vCPU, and only the vCPU's task writes its
//! counters. The VM has a list of its vCPUs, which only grows, so readers walk it without
//! a lock. Writers hold the lock of the list of VMs: see `vms`.

use crate::{
    block::{Block, Owned},
    config,
    details::Details,
    phases::Place,
    profile::{cells::Cells, throttle::QueryBudget},
    snapshot::Snapshots,
    spread::{Read, Spread},
    sys::{
        clock,
        contract::{PauseState, VcpuInfo},
        debugfs::{Dir, Name},
        lock::{Mutex, OwnMutex},
        memory::{self, Wait},
    },
};
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    iter::successors,
    mem,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use kernel::prelude::*;

pub(crate) type Vcpu = Block<Head>;

/// The head of a vCPU's profile.
///
/// # Invariants
///
/// Once the vCPU is in the list of `vm`, the VM exists as long as the vCPU.
pub(crate) struct Head {
    vm: NonNull<Vm>,
    /// The vCPU's number in its VM.
    pub(crate) number: u32,
    /// A random number that identifies the vCPU.
    pub(crate) id: u64,
    /// The limit on its guest's queries.
    pub(crate) budget: QueryBudget,
    /// The snapshot that the vCPU holds.
    pub(crate) snapshots: Snapshots,
    /// Where its time goes.
    pub(crate) phases: Place,
    /// What tells its exits apart.
    pub(crate) details: Details,
    /// KVM's state of the vCPU's pause, which exists until the vCPU has ended.
    pub(crate) pause: *const PauseState,
    /// Its directory in debugfs. Only the tasks that attach and detach the vCPU use it.
    dir: UnsafeCell<Option<Dir>>,
    /// The generation of readings in which the vCPU ended; 0 before.
    ended: AtomicU64,
    /// The vCPU that was attached next in the VM. Written under the list's lock.
    next: AtomicPtr<Vcpu>,
}

/// A VM.
///
/// # Invariants
///
/// It came from [`Vm::try_new`]. The vCPUs in its list exist as long as the VM, and
/// [`live`](Vm::live) of them have not ended.
pub(crate) struct Vm {
    /// KVM's number of the VM. It is unique among VMs that have vCPUs.
    pub(crate) number: u64,
    /// The process that created the VM.
    pub(crate) pid: u32,
    /// A random number that identifies the VM.
    pub(crate) id: u64,
    /// Its name in KVM's debugfs; the number of its process if it has none there.
    pub(crate) name: Name,
    /// Its directory in debugfs, made with the first vCPU's.
    pub(crate) dir: Mutex<OwnMutex, Option<Dir>>,
    /// The vCPU that was attached first. Written under the list's lock.
    first: AtomicPtr<Vcpu>,
    /// The vCPU that was attached last. Protected by the list's lock.
    last: UnsafeCell<*const Vcpu>,
    /// The number of vCPUs that have not ended. Protected by the list's lock.
    live: UnsafeCell<usize>,
    /// Whether the VM is to be freed when the reading ends. Protected by the list's lock.
    pub(crate) retired: UnsafeCell<bool>,
    /// The VM that was added before. Changed under the list's lock, and never during a
    /// reading.
    pub(crate) next: AtomicPtr<Vm>,
}

// SAFETY: Tasks share a vCPU as follows. `vm`, `number`, `id` and `pause` do not change once
// it is in a list; `budget`, `phases`, `details`,
// `ended` and `next` are atomic. `dir` and `snapshots`
// have unsafe accessors whose contracts name the only task that may use them.
unsafe impl Sync for Head {}

// SAFETY: As for `Head`. `dir` has a mutex, and the list's lock protects `last`, `live` and
// `retired`.
unsafe impl Sync for Vm {}

impl Vcpu {
    /// Makes a profile for a vCPU, which belongs to no VM yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    ///
    /// # Safety
    ///
    /// The caller does nothing with the result but to drop it, or to pass it to
    /// [`Vm::add`].
    pub(crate) unsafe fn try_new(info: &VcpuInfo) -> Result<Owned<Head>> {
        let head = Head {
            vm: NonNull::dangling(),
            number: info.vcpu_id,
            id: clock::random_u64(),
            budget: QueryBudget::new(),
            snapshots: Snapshots::default(),
            phases: Place::new(),
            details: Details::new(clock::random_u64()),
            pause: info.pause,
            dir: UnsafeCell::new(None),
            ended: AtomicU64::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
        };
        Owned::try_new(head, config::vcpu_slots(), Wait::Yes)
    }

    /// The vCPU of a profile that KVM keeps.
    ///
    /// # Safety
    ///
    /// `profile` came from [`Vm::add`], and KVM does not detach it during `'a`.
    pub(crate) unsafe fn borrow<'a>(profile: NonNull<c_void>) -> &'a Vcpu {
        // SAFETY: `Vm::add()` got `profile` from `into_foreign()`, and the vCPU exists
        // until it is detached.
        unsafe { Owned::borrow(profile) }
    }

    pub(crate) fn vm(&self) -> &Vm {
        // SAFETY: By the invariant of `Head`, the VM exists as long as the vCPU.
        unsafe { self.head.vm.as_ref() }
    }

    /// Its directory in debugfs.
    ///
    /// # Safety
    ///
    /// The caller attaches or detaches the vCPU, and has no other reference to the
    /// directory.
    #[allow(clippy::mut_from_ref)] // The caller guarantees exclusive use.
    pub(crate) unsafe fn dir(&self) -> &mut Option<Dir> {
        // SAFETY: Only one task attaches or detaches a vCPU at a time.
        unsafe { &mut *self.head.dir.get() }
    }

    /// Whether the vCPU has not ended. Stays so while the caller holds the list's lock.
    pub(crate) fn is_live(&self) -> bool {
        self.head.ended.load(Relaxed) == 0
    }

    /// Whether the vCPU had not ended when the reading of `generation` began.
    pub(crate) fn was_live(&self, generation: u64) -> bool {
        let ended = self.head.ended.load(Relaxed);
        ended == 0 || ended >= generation
    }

    /// Ends the vCPU. Returns its VM if it was the VM's last vCPU.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock, and calls this once.
    pub(crate) unsafe fn end(&self, generation: u64) -> Option<NonNull<Vm>> {
        // SAFETY: The caller holds the lock, which protects `live`.
        let live = unsafe { &mut *self.vm().live.get() };
        *live = live.saturating_sub(1);
        self.head.ended.store(generation, Relaxed);
        (*live == 0).then(|| self.head.vm)
    }
}

impl Vm {
    /// Makes a VM that is in no list and has no vCPUs yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn try_new(info: &VcpuInfo) -> Result<NonNull<Vm>> {
        let name = match info.vm_name.is_null() {
            true => Name::new(format_args!("{}", info.vm_pid)),
            // SAFETY: KVM's string is valid during the call of `attach()`.
            false => unsafe { Name::from_c(info.vm_name) },
        };
        let mut vm: NonNull<Vm> = memory::alloc(mem::size_of::<Vm>(), Wait::Yes)?.cast();
        // SAFETY: The memory is new, large enough, and aligned to its size. The mutex is
        // initialized in its final place.
        unsafe {
            let dir = Mutex::uninit(None);
            ptr::write(
                vm.as_ptr(),
                Vm {
                    number: info.vm,
                    pid: info.vm_pid,
                    id: clock::random_u64(),
                    name,
                    dir,
                    first: AtomicPtr::new(ptr::null_mut()),
                    last: UnsafeCell::new(ptr::null()),
                    live: UnsafeCell::new(0),
                    retired: UnsafeCell::new(false),
                    next: AtomicPtr::new(ptr::null_mut()),
                },
            );
            vm.as_mut().dir.init();
        }
        Ok(vm)
    }

    /// Frees a VM and its vCPUs.
    ///
    /// # Safety
    ///
    /// The VM came from [`try_new`](Vm::try_new). It is in no list, and nobody uses it or
    /// its vCPUs.
    pub(crate) unsafe fn free(vm: NonNull<Vm>) {
        // SAFETY: The caller guarantees that nobody else uses the VM.
        let mut next = unsafe { vm.as_ref() }.first.load(Relaxed);
        while let Some(vcpu) = NonNull::new(next) {
            // SAFETY: `add()` got the vCPU from `into_foreign()`, and nobody borrows it.
            let vcpu = unsafe { Owned::<Head>::from_foreign(vcpu.cast()) };
            next = vcpu.head.next.load(Relaxed);
        }
        // SAFETY: `try_new()` allocated the VM, and its vCPUs are freed.
        unsafe {
            ptr::drop_in_place(vm.as_ptr());
            memory::free(vm.cast());
        }
    }

    /// Adds a vCPU to a VM, which owns it from now on. Returns the profile for KVM.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock, so that the VM exists.
    pub(crate) unsafe fn add(vm: NonNull<Vm>, vcpu: Owned<Head>) -> NonNull<c_void> {
        let profile = vcpu.into_foreign();
        let mut vcpu: NonNull<Vcpu> = profile.cast();
        // INVARIANT: The VM frees the vCPU, so it exists as long.
        // SAFETY: Nobody else has the vCPU until it is in the list. The caller holds the
        // lock, which protects `last` and `live`. The VM's vCPUs exist as long as the VM.
        unsafe {
            vcpu.as_mut().head.vm = vm;
            let vm = vm.as_ref();
            let last = &mut *vm.last.get();
            let link = last.as_ref().map_or(&vm.first, |last| &last.head.next);
            link.store(vcpu.as_ptr(), Release);
            *last = vcpu.as_ptr();
            let live = &mut *vm.live.get();
            *live = live.wrapping_add(1);
        }
        profile
    }

    /// Whether the VM has a vCPU that has not ended.
    ///
    /// # Safety
    ///
    /// The caller holds the list's lock.
    pub(crate) unsafe fn is_live(&self) -> bool {
        // SAFETY: The caller holds the lock, which protects `live`.
        unsafe { *self.live.get() > 0 }
    }

    /// All vCPUs that the VM has or had, from the first on.
    pub(crate) fn attached(&self) -> impl Iterator<Item = &Vcpu> {
        // SAFETY: By the type's invariant, the vCPUs exist as long as the VM.
        let vcpu = |link: &AtomicPtr<Vcpu>| unsafe { link.load(Acquire).as_ref() };
        successors(vcpu(&self.first), move |vcpu_before: &&Vcpu| {
            vcpu(&vcpu_before.head.next)
        })
    }

    /// The vCPUs that have not ended.
    pub(crate) fn vcpus(&self) -> impl Iterator<Item = &Vcpu> {
        self.attached().filter(|vcpu| vcpu.is_live())
    }
}

impl Spread for Vm {
    fn each(&self, _: Read, with: impl FnMut(Cells<'_>)) {
        self.vcpus().map(Vcpu::cells).for_each(with);
    }
}
