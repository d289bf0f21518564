// SPDX-License-Identifier: GPL-2.0

//! The profiles of vCPUs, by VM.
//!
//! KVM keeps the pointer to a profile in the vCPU, and only the vCPU's task writes its
//! counters. When a vCPU ends, its counts are added to those of ended vCPUs, so no exit
//! is lost.
//!
//! There is a list of VMs, and each VM has a list of its vCPUs. Readers walk them without
//! a lock, because lists of vCPUs only grow, and a VM stays in its list while anyone
//! reads it: see `reading`. A VM is freed when its last vCPU has ended and no reading is
//! in progress.

use crate::{
    block::{Block, Owned},
    config,
    profile::{cells::Cells, counts::Tally, isa::Isa, throttle::QueryBudget},
    snapshot::Snapshots,
    spread::{Read, Spread},
    sys::{
        clock,
        contract::VcpuInfo,
        debugfs::{Dir, Name},
        lock::{Mutex, OwnMutex, VmsMutex},
        memory::{self, Wait},
    },
};
use core::{
    cell::UnsafeCell,
    ffi::c_void,
    iter::successors,
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
/// The VM exists as long as the head.
pub(crate) struct Head {
    vm: NonNull<Vm>,
    /// The vCPU's number in its VM.
    pub(crate) number: u32,
    /// A random number that identifies the vCPU.
    pub(crate) id: u64,
    /// The limit on its guest's queries.
    pub(crate) budget: QueryBudget,
    /// The vCPU that was attached next in the VM. Written under the list's lock.
    next: AtomicPtr<Vcpu>,
    /// The generation of readings in which the vCPU ended; 0 before.
    ended: AtomicU64,
    /// Its directory in debugfs. Only the tasks that attach and detach the vCPU use it.
    dir: UnsafeCell<Option<Dir>>,
    /// The snapshot that the vCPU holds.
    pub(crate) snapshots: Snapshots,
}

/// A VM.
///
/// # Invariants
///
/// It came from `new_vm()`. The vCPUs in its list exist as long as the VM, and
/// [`live`](Vm::live) of them have not ended.
pub(crate) struct Vm {
    /// KVM's number of the VM. It is unique among VMs that have vCPUs.
    number: u64,
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
    retired: UnsafeCell<bool>,
    /// The VM that was added before. Changed under the list's lock, and never during a
    /// reading.
    next: AtomicPtr<Vm>,
}

impl Vcpu {
    /// Whether the vCPU existed when the reading of `generation` began.
    pub(crate) fn was_live(&self, generation: u64) -> bool {
        let ended = self.head.ended.load(Relaxed);
        ended == 0 || ended >= generation
    }

    pub(crate) fn vm(&self) -> &Vm {
        // SAFETY: By the invariant of `Head`, the VM exists as long as the vCPU.
        unsafe { self.head.vm.as_ref() }
    }

    /// The vCPU of a profile that KVM keeps.
    ///
    /// # Safety
    ///
    /// `profile` came from [`attach`], and KVM does not detach it during `'a`.
    pub(crate) unsafe fn borrow<'a>(profile: NonNull<c_void>) -> &'a Vcpu {
        // SAFETY: `attach()` got `profile` from `into_foreign()`, and it exists until it
        // is detached.
        unsafe { Owned::borrow(profile) }
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
}

impl Vm {
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
        self.attached()
            .filter(|vcpu| vcpu.head.ended.load(Relaxed) == 0)
    }
}

impl Spread for Vm {
    fn each(&self, _: Read, with: impl FnMut(Cells<'_>)) {
        self.vcpus().map(Vcpu::cells).for_each(with);
    }
}

/// The VM that was added last. Written under [`VMS`].
static LAST: AtomicPtr<Vm> = AtomicPtr::new(ptr::null_mut());

/// What [`VMS`] protects, besides the list.
struct Vms {
    /// The number of vCPUs that have not ended.
    vcpus: usize,
    /// The tallies of ended vCPUs, by slot.
    ended: [Tally; Isa::MAX_SLOTS],
    /// The number of readings that have begun, plus 1.
    generation: u64,
    /// Whether a reading is in progress, which keeps all VMs in the list.
    reading: bool,
}

/// Zero, by slot.
pub(crate) const NOTHING: [Tally; Isa::MAX_SLOTS] = [Tally {
    exits: 0,
    cycles: 0,
    untimed: 0,
}; Isa::MAX_SLOTS];

// Held for short loops over VMs or slots. Nothing sleeps under it.
// SAFETY: No other `Mutex` has this mutex.
static VMS: Mutex<VmsMutex, Vms> = unsafe {
    Mutex::new(
        VmsMutex,
        Vms {
            vcpus: 0,
            ended: NOTHING,
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
    fn find(&mut self, number: u64) -> Option<NonNull<Vm>> {
        // SAFETY: `self` is borrowed from `VMS`, so the lock is held: here and below.
        let mut all = unsafe { all() };
        all.find(|vm| unsafe { vm.as_ref().number == number && *vm.as_ref().live.get() > 0 })
    }

    /// Adds a new VM to the list.
    fn add(&mut self, vm: NonNull<Vm>) {
        // SAFETY: The VM came from `new_vm()`, and only the caller has it.
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

    /// Adds a new vCPU to a VM.
    fn enter(&mut self, mut vcpu: NonNull<Vcpu>, vm: NonNull<Vm>) {
        // SAFETY: Only the caller has the vCPU until it is in the list. The lock is held,
        // and protects `last` and `live`. The VM's vCPUs exist as long as the VM.
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
        self.vcpus = self.vcpus.wrapping_add(1);
    }

    /// Ends a vCPU. Returns true if it was the last one of its VM.
    fn leave(&mut self, vcpu: &Vcpu) -> bool {
        let cells = vcpu.cells();
        for (slot, ended) in self.ended.iter_mut().enumerate() {
            *ended = *ended + cells.slot(slot);
        }
        self.vcpus = self.vcpus.saturating_sub(1);
        // SAFETY: The lock is held, and protects `live`.
        let live = unsafe { &mut *vcpu.vm().live.get() };
        *live = live.saturating_sub(1);
        let last = *live == 0;
        vcpu.head.ended.store(self.generation, Relaxed);
        last
    }
}

/// Frees a VM and its vCPUs.
///
/// # Safety
///
/// The VM is in no list, and nobody uses it or its vCPUs.
unsafe fn free(vm: NonNull<Vm>) {
    // SAFETY: The caller guarantees that nobody else uses the VM.
    let mut next = unsafe { vm.as_ref() }.first.load(Relaxed);
    while let Some(vcpu) = NonNull::new(next) {
        // SAFETY: `attach()` gave up the ownership of the vCPU, and nobody borrows it.
        let vcpu = unsafe { Owned::<Head>::from_foreign(vcpu.cast()) };
        next = vcpu.head.next.load(Relaxed);
    }
    // SAFETY: `new_vm()` allocated the VM, and its vCPUs are freed.
    unsafe {
        ptr::drop_in_place(vm.as_ptr());
        memory::free(vm.cast());
    }
}

/// Makes a VM that is in no list yet.
fn new_vm(info: &VcpuInfo) -> Result<NonNull<Vm>> {
    let name = match info.vm_name.is_null() {
        true => Name::new(format_args!("{}", info.vm_pid)),
        // SAFETY: KVM's string is valid during the call of `attach()`.
        false => unsafe { Name::from_c(info.vm_name) },
    };
    let mut vm: NonNull<Vm> = memory::alloc(core::mem::size_of::<Vm>(), Wait::Yes)?.cast();
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
                next: AtomicPtr::new(ptr::null_mut()),
                retired: UnsafeCell::new(false),
            },
        );
        vm.as_mut().dir.init();
    }
    Ok(vm)
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
    let head = Head {
        vm: NonNull::dangling(),
        number: info.vcpu_id,
        id: clock::random_u64(),
        budget: QueryBudget::new(),
        next: AtomicPtr::new(ptr::null_mut()),
        ended: AtomicU64::new(0),
        dir: UnsafeCell::new(None),
        snapshots: Snapshots::default(),
    };
    let vcpu = Owned::try_new(head, config::vcpu_slots(), Wait::Yes)?;
    let mut vms = VMS.lock();
    let vm = match vms.find(info.vm) {
        Some(vm) => vm,
        None => {
            // The allocation may sleep for long, so the lock is released.
            drop(vms);
            let new = new_vm(info)?;
            vms = VMS.lock();
            match vms.find(info.vm) {
                // Another vCPU has added the VM meanwhile.
                Some(vm) => {
                    // SAFETY: `new` is in no list, and only this function has it.
                    unsafe { free(new) };
                    vm
                }
                None => {
                    vms.add(new);
                    new
                }
            }
        }
    };
    // INVARIANT: The VM exists until its last vCPU has ended, and then frees its vCPUs.
    let vcpu = vcpu.into_foreign();
    vms.enter(vcpu.cast(), vm);
    Ok(vcpu)
}

/// Ends a vCPU. Returns its VM if it was the VM's last vCPU. The caller then removes the
/// VM's directory, and calls [`retire`].
///
/// # Safety
///
/// `vcpu` came from [`attach`]. KVM has forgotten it, and it has no directory any more.
pub(crate) unsafe fn end(vcpu: NonNull<Vcpu>) -> Option<NonNull<Vm>> {
    // SAFETY: `attach()` returned the vCPU. It exists until its VM's last vCPU ends, so
    // at least until this releases the lock.
    let vm = unsafe { vcpu.as_ref() }.head.vm;
    let mut vms = VMS.lock();
    // SAFETY: As above.
    let last = vms.leave(unsafe { vcpu.as_ref() });
    drop(vms);
    last.then(|| vm)
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
    unsafe { free(vm) };
}

/// The state when a reading begins: see [`begin_reading`].
pub(crate) struct Begun {
    /// The generation of the reading. vCPUs that end from now on have it, or a later one.
    pub(crate) generation: u64,
    /// The number of vCPUs.
    pub(crate) vcpus: usize,
}

/// Begins a reading: keeps all VMs in the list until [`end_reading`], and copies the
/// tallies of ended vCPUs to `ended`. There must be only one reading at a time.
pub(crate) fn begin_reading(ended: &mut [Tally; Isa::MAX_SLOTS]) -> Begun {
    let mut vms = VMS.lock();
    vms.generation = vms.generation.wrapping_add(1);
    vms.reading = true;
    ended.copy_from_slice(&vms.ended);
    Begun {
        generation: vms.generation,
        vcpus: vms.vcpus,
    }
}

/// Sets the tallies of ended vCPUs to zero.
pub(crate) fn clear_ended() {
    VMS.lock().ended.copy_from_slice(&NOTHING);
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
            free(vm);
        }
    }
}
