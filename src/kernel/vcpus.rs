// SPDX-License-Identifier: GPL-2.0

//! The profiles of vCPUs, by VM: which exits are whose.
//!
//! KVM keeps the pointer to a profile in the vCPU, whose task alone writes the
//! counters. What a vCPU has counted is added to those that have ended when it ends, so
//! that nothing is lost with a VM.
//!
//! VMs are in a list, and their vCPUs in a list of the VM's, both of which only grow,
//! so that they are walked without a lock. A VM leaves its list and is freed when its last
//! vCPU has ended and nobody reads the list: see `reading`.

use crate::{
    block::{Block, Owned},
    config,
    profile::{
        counts::{Profile, Tally},
        isa::Isa,
        throttle::QueryBudget,
    },
    snapshot::Snapshots,
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

/// A vCPU's profile.
pub(crate) type Vcpu = Block<Head>;

/// Whose profile it is.
///
/// # Invariants
///
/// The VM lives as long as this.
pub(crate) struct Head {
    vm: NonNull<Vm>,
    /// The vCPU's number in its VM.
    pub(crate) number: u32,
    /// A random number.
    pub(crate) id: u64,
    /// What its guest may read.
    pub(crate) budget: QueryBudget,
    /// The VM's vCPU that was attached next; set under the list's lock.
    next: AtomicPtr<Vcpu>,
    /// The generation of readings in which it ended; 0 while it has not.
    ended: AtomicU64,
    /// Its directory in debugfs, for who attaches and detaches it.
    dir: UnsafeCell<Option<Dir>>,
    /// For the vCPU's task.
    pub(crate) snapshots: Snapshots,
}

/// A VM.
///
/// # Invariants
///
/// It came from `new_vm()`. The vCPUs that `first` and their `next` lead to live as long
/// as this, and [`live`](Vm::live) of them have not ended.
pub(crate) struct Vm {
    /// A number, which no other VM has while it lives.
    number: u64,
    /// The process that has made it.
    pub(crate) pid: u32,
    /// A random number.
    pub(crate) id: u64,
    /// What KVM's debugfs calls it; its process if that does not have it.
    pub(crate) name: Name,
    /// Its directory in debugfs, once a vCPU has made it; for those who attach and detach.
    pub(crate) dir: Mutex<OwnMutex, Option<Dir>>,
    /// The vCPU that was attached first; set under the list's lock.
    first: AtomicPtr<Vcpu>,
    /// The one that was attached last; for who holds the list's lock.
    last: UnsafeCell<*const Vcpu>,
    /// How many of them have not ended; under the list's lock.
    live: UnsafeCell<usize>,
    /// Whether it is to be freed, but for who reads; under the list's lock.
    retired: UnsafeCell<bool>,
    /// The VM that was made before; changed under the list's lock, when nobody reads.
    next: AtomicPtr<Vm>,
}

impl Vcpu {
    /// Whether it had not ended when a reading of that generation began.
    pub(crate) fn was_live(&self, generation: u64) -> bool {
        let ended = self.head.ended.load(Relaxed);
        ended == 0 || ended >= generation
    }

    /// The VM that it belongs to.
    pub(crate) fn vm(&self) -> &Vm {
        // SAFETY: By the type's invariant.
        unsafe { self.head.vm.as_ref() }
    }

    /// The profile that KVM keeps.
    ///
    /// # Safety
    ///
    /// `profile` came from [`attach`], and is not detached during `'a`.
    pub(crate) unsafe fn borrow<'a>(profile: NonNull<c_void>) -> &'a Vcpu {
        // SAFETY: By this function's contract.
        unsafe { Owned::borrow(profile) }
    }

    /// Its directory in debugfs.
    ///
    /// # Safety
    ///
    /// Called by who attaches or detaches it, one at a time.
    #[allow(clippy::mut_from_ref)] // By the function's contract.
    pub(crate) unsafe fn dir(&self) -> &mut Option<Dir> {
        // SAFETY: By this function's contract.
        unsafe { &mut *self.head.dir.get() }
    }
}

impl Vm {
    /// The vCPUs that it has had, from the first one on.
    pub(crate) fn attached(&self) -> impl Iterator<Item = &Vcpu> {
        // SAFETY: They live as long as the VM.
        let vcpu = |link: &AtomicPtr<Vcpu>| unsafe { link.load(Acquire).as_ref() };
        successors(vcpu(&self.first), move |vcpu_before: &&Vcpu| {
            vcpu(&vcpu_before.head.next)
        })
    }

    /// The vCPUs that it has.
    pub(crate) fn vcpus(&self) -> impl Iterator<Item = &Vcpu> {
        self.attached()
            .filter(|vcpu| vcpu.head.ended.load(Relaxed) == 0)
    }
}

impl Profile for Vm {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        self.vcpus()
            .fold(Tally::default(), |sum, vcpu| sum + vcpu.sum(wanted))
    }

    fn slot(&self, slot: usize) -> Tally {
        self.vcpus()
            .fold(Tally::default(), |sum, vcpu| sum + vcpu.slot(slot))
    }
}

/// The VM that was made last. Changed under [`VMS`].
static LAST: AtomicPtr<Vm> = AtomicPtr::new(ptr::null_mut());

/// What changes under the lock.
struct Vms {
    /// How many vCPUs there are.
    vcpus: usize,
    /// By slot, what the vCPUs have counted that have ended.
    ended: [Tally; Isa::MAX_SLOTS],
    /// How many readings have begun, and one.
    generation: u64,
    /// Whether somebody reads, so that no VM may leave the list.
    reading: bool,
}

/// By slot, nothing.
pub(crate) const NOTHING: [Tally; Isa::MAX_SLOTS] = [Tally {
    exits: 0,
    cycles: 0,
    untimed: 0,
}; Isa::MAX_SLOTS];

// SAFETY: Nobody else has the mutex. It is held for a few instructions only, and for as
// many as there are VMs.
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

/// All VMs of the list, from the last one on.
///
/// # Safety
///
/// None leaves it meanwhile: the caller holds [`VMS`], or is between
/// [`begin_reading`] and [`end_reading`].
pub(crate) unsafe fn all() -> impl Iterator<Item = NonNull<Vm>> {
    let vm = |link: &AtomicPtr<Vm>| NonNull::new(link.load(Acquire));
    successors(vm(&LAST), move |last| {
        // SAFETY: By this function's contract.
        vm(unsafe { &last.as_ref().next })
    })
}

impl Vms {
    /// The VM with that number, if one of its vCPUs has not ended.
    fn find(&mut self, number: u64) -> Option<NonNull<Vm>> {
        // SAFETY: The lock is held, here and below.
        let mut all = unsafe { all() };
        all.find(|vm| unsafe { vm.as_ref().number == number && *vm.as_ref().live.get() > 0 })
    }

    /// Puts a VM into the list, which has no vCPU yet.
    fn add(&mut self, vm: NonNull<Vm>) {
        // SAFETY: It is the caller's until it is in the list.
        unsafe { vm.as_ref() }
            .next
            .store(LAST.load(Relaxed), Relaxed);
        LAST.store(vm.as_ptr(), Release);
    }

    /// Takes a VM out of the list.
    fn remove(&mut self, gone: NonNull<Vm>) {
        let mut link = &LAST;
        // SAFETY: The lock is held.
        while let Some(vm) = unsafe { link.load(Relaxed).as_ref() } {
            if ptr::eq(vm, gone.as_ptr()) {
                return link.store(vm.next.load(Relaxed), Release);
            }
            link = &vm.next;
        }
    }

    /// Makes a vCPU one of a VM's.
    fn enter(&mut self, mut vcpu: NonNull<Vcpu>, vm: NonNull<Vm>) {
        // SAFETY: The vCPU is the caller's until it is in the VM's list. The lock is held,
        // and vCPUs live as long as the VM.
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

    /// Ends a vCPU of a VM; true if it was its last one.
    fn leave(&mut self, vcpu: &Vcpu) -> bool {
        let cells = vcpu.cells();
        for (slot, ended) in self.ended.iter_mut().enumerate() {
            *ended = *ended + cells.slot(slot);
        }
        self.vcpus = self.vcpus.saturating_sub(1);
        // SAFETY: The lock is held.
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
/// It is in no list, and nobody uses it any more.
unsafe fn free(vm: NonNull<Vm>) {
    // SAFETY: By this function's contract, here and below.
    let mut next = unsafe { vm.as_ref() }.first.load(Relaxed);
    while let Some(vcpu) = NonNull::new(next) {
        // SAFETY: As above; it was given away by `attach()`.
        let vcpu = unsafe { Owned::<Head>::from_foreign(vcpu.cast()) };
        next = vcpu.head.next.load(Relaxed);
    }
    // SAFETY: As above; `attach()` has allocated it.
    unsafe {
        ptr::drop_in_place(vm.as_ptr());
        memory::free(vm.cast());
    }
}

/// A VM that is in no list yet.
fn new_vm(info: &VcpuInfo) -> Result<NonNull<Vm>> {
    let name = match info.vm_name.is_null() {
        true => Name::new(format_args!("{}", info.vm_pid)),
        // SAFETY: KVM's string, which is valid while it calls us.
        false => unsafe { Name::from_c(info.vm_name) },
    };
    let mut vm: NonNull<Vm> = memory::alloc(core::mem::size_of::<Vm>(), Wait::Yes)?.cast();
    // SAFETY: The memory is large enough, aligned to its size, and ours. The mutex is
    // initialized where it stays.
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
/// Where one may sleep.
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
            // Memory is not to be waited for under the lock.
            drop(vms);
            let new = new_vm(info)?;
            vms = VMS.lock();
            match vms.find(info.vm) {
                // Another vCPU of the VM was faster.
                Some(vm) => {
                    // SAFETY: It is in no list.
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
    // INVARIANT: The VM lives until its last vCPU has ended, and longer.
    let vcpu = vcpu.into_foreign();
    vms.enter(vcpu.cast(), vm);
    Ok(vcpu)
}

/// Ends a vCPU. If it was its VM's last one, the caller is to remove that's directory, and
/// to [`retire`] it.
///
/// # Safety
///
/// [`attach`] has made it, KVM has forgotten it, and it has no directory any more.
pub(crate) unsafe fn end(vcpu: NonNull<Vcpu>) -> Option<NonNull<Vm>> {
    // SAFETY: By this function's contract. It may be freed when the lock is not held any
    // more, if another vCPU of the VM ends.
    let vm = unsafe { vcpu.as_ref() }.head.vm;
    let mut vms = VMS.lock();
    // SAFETY: As above.
    let last = vms.leave(unsafe { vcpu.as_ref() });
    drop(vms);
    last.then(|| vm)
}

/// Frees a VM, or has that done by who reads.
///
/// # Safety
///
/// [`end`] has returned it to the caller, and it has no directory any more.
pub(crate) unsafe fn retire(vm: NonNull<Vm>) {
    let mut vms = VMS.lock();
    if vms.reading {
        // SAFETY: The lock is held, and the VM is freed by nobody else before that.
        unsafe { *vm.as_ref().retired.get() = true };
        return;
    }
    vms.remove(vm);
    drop(vms);
    // SAFETY: It is in no list, and by this function's contract.
    unsafe { free(vm) };
}

/// What there is when a reading begins: see [`begin_reading`].
pub(crate) struct Begun {
    /// A vCPU that ends now, or later, is of this generation.
    pub(crate) generation: u64,
    /// How many vCPUs there are.
    pub(crate) vcpus: usize,
}

/// Keeps VMs in their list, until [`end_reading`]; and says by slot what the vCPUs have
/// counted that have ended. For one reader at a time.
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

/// Forgets what the vCPUs have counted that have ended.
pub(crate) fn clear_ended() {
    VMS.lock().ended.copy_from_slice(&NOTHING);
}

/// Frees the VMs that were kept.
///
/// # Safety
///
/// Called once after [`begin_reading`]; nobody uses a VM any more that was found since.
pub(crate) unsafe fn end_reading() {
    let mut kept: *mut Vm = ptr::null_mut();
    let mut vms = VMS.lock();
    vms.reading = false;
    // SAFETY: The lock is held, here and below.
    let retired = |vm: &NonNull<Vm>| unsafe { *vm.as_ref().retired.get() };
    while let Some(vm) = unsafe { all() }.find(retired) {
        vms.remove(vm);
        // SAFETY: As above.
        unsafe { vm.as_ref() }.next.store(kept, Relaxed);
        kept = vm.as_ptr();
    }
    drop(vms);
    while let Some(vm) = NonNull::new(kept) {
        // SAFETY: It was taken out of the list above, and is nobody's by this
        // function's contract.
        unsafe {
            kept = vm.as_ref().next.load(Relaxed);
            free(vm);
        }
    }
}
