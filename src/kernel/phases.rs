// SPDX-License-Identifier: GPL-2.0

//! Where a vCPU's time goes: the cycles that it spent in each phase.
//!
//! Each boundary of a phase is one reading of the TSC, which ends a phase and begins the
//! next. So the phases add up to the time that passed. When a pause ends, all boundaries
//! before are moved to after it, as if they had been read later by as much. So what is
//! between two boundaries never has a pause in it. Only the vCPU's task writes.

use crate::{
    config, host,
    profile::{
        cells::increase,
        phases::{Phase, Spent, SpentCell, Totals},
        trips::{TripTable, Trips},
    },
    sys::{
        contract::{self, Pause, PauseState, Sample},
        cpu,
        error::ENOMEM,
        lock::{Mutex, OwnMutex},
        memory::{self, Wait},
    },
};
use core::{
    mem, ptr, slice,
    sync::atomic::{
        fence, AtomicBool, AtomicPtr, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};
use kernel::prelude::*;

/// The value of `last` while phases are not recorded: later than any time, so that the
/// check for a TSC that runs backwards finds it, too.
const STOPPED: u64 = i64::MAX as u64;

/// A vCPU's phases, followed in memory by a [`SpentCell`] for each slot, and one for the
/// time before the first exit.
///
/// # Invariants
///
/// It begins an allocation of [`size()`](Phases::size) bytes, which was zeroed.
#[repr(C, align(64))]
pub(crate) struct Phases {
    /// The TSC at the last boundary, plus all pauses since.
    last: AtomicU64,
    /// The offset in bytes from here to the cell of the reason that the time goes to.
    current: AtomicU64,
    /// The cycles in the guest.
    guest: AtomicU64,
    /// The TSC when recording began, plus the time in which it was stopped.
    since: AtomicU64,
    /// The TSC when recording was stopped.
    until: AtomicU64,
    /// Exits to userspace, by the number of the cell that their time goes to.
    pub(crate) trips: TripTable,
    /// KVM's state of the vCPU's pause; null before [`begin`](Phases::begin). It exists
    /// until [`stop`](Phases::stop), and is used only while recording is not stopped.
    /// Readers lock it, so that it is not stopped meanwhile.
    pause: Mutex<OwnMutex, *const PauseState>,
}

// SAFETY: Any task may read the numbers, which are atomic. The mutex protects the pointer.
unsafe impl Sync for Phases {}

const _: () = assert!(mem::size_of::<SpentCell>() == 64);

impl Phases {
    const CELLS: usize = mem::size_of::<Self>();

    /// The number of cells.
    fn len() -> usize {
        config::isa().slots().wrapping_add(1)
    }

    /// The number of the cell for the time before the first exit.
    pub(crate) fn before_first() -> usize {
        config::isa().slots()
    }

    /// The size of the allocation in bytes.
    pub(crate) fn size() -> usize {
        memory::rounded(Self::CELLS.wrapping_add(Self::len().wrapping_mul(64)))
    }

    #[inline(always)]
    fn offset(slot: usize) -> usize {
        host::offset::<SpentCell>(slot).wrapping_add(Self::CELLS)
    }

    /// The number of the cell at an offset.
    fn number(offset: usize) -> usize {
        offset.wrapping_sub(Self::CELLS) / mem::size_of::<SpentCell>()
    }

    /// The cell at an offset.
    ///
    /// # Safety
    ///
    /// The offset is that of a cell.
    #[inline(always)]
    unsafe fn cell_at(&self, offset: usize) -> &SpentCell {
        let start: *const u8 = (self as *const Self).cast();
        // SAFETY: By the type's invariant, the cells are in the allocation. They were
        // zeroed, which is valid.
        unsafe { &*start.add(offset).cast() }
    }

    fn cells(&self) -> &[SpentCell] {
        let start: *const u8 = (self as *const Self).cast();
        // SAFETY: As in `cell_at()`.
        unsafe { slice::from_raw_parts(start.add(Self::CELLS).cast(), Self::len()) }
    }

    /// The cell that the time goes to.
    #[inline(always)]
    fn current(&self) -> &SpentCell {
        // SAFETY: `current` is always the offset of a cell.
        unsafe { self.cell_at(self.current.load(Relaxed) as usize) }
    }

    /// Adds an exit of `slot`, whose handling ended at `tsc`: the time from the last
    /// boundary.
    ///
    /// # Safety
    ///
    /// This is called by `record_phases()`, and `slot` is less than the number of slots.
    #[inline(always)]
    pub(crate) unsafe fn add_exit(&self, slot: usize, sample: &Sample, tsc: u64) {
        let last = self.last.load(Relaxed);
        let offset = Self::offset(slot);
        if (tsc.wrapping_sub(last) as i64) < 0 {
            return self.start(offset, tsc);
        }
        let guest = sample.exited.wrapping_sub(sample.entered);
        let run_loop = sample.entered.wrapping_sub(last);
        increase(&self.guest, guest);
        self.current().spend(Phase::RunLoop, run_loop);
        // SAFETY: KVM calls `record_phases()` with preemption disabled.
        unsafe { host::spend_between(run_loop, guest) };
        self.last.store(tsc, Relaxed);
        self.current.store(offset as u64, Relaxed);

        let exit_path = sample.began.wrapping_sub(sample.exited);
        let handler = tsc.wrapping_sub(sample.began);
        // SAFETY: The caller guarantees that there is a cell for the slot.
        let cell = unsafe { self.cell_at(offset) };
        cell.spend(Phase::ExitPath, exit_path);
        cell.spend(Phase::Handler, handler);
        // SAFETY: As above.
        unsafe { host::spend_in_exit(exit_path, handler) };
    }

    /// Begins at `tsc`, with the cell at `offset`. What was before is dropped.
    #[cold]
    #[inline(never)]
    fn start(&self, offset: usize, tsc: u64) {
        if !ALLOWED.load(Relaxed) {
            return;
        }
        let until = match self.last.load(Relaxed) {
            STOPPED => self.until.load(Relaxed),
            last => last,
        };
        increase(&self.since, tsc.wrapping_sub(until));
        self.current.store(offset as u64, Relaxed);
        self.last.store(tsc, Release);
    }

    /// Adds a pause that ends after `cycles`.
    ///
    /// # Safety
    ///
    /// KVM calls `record_pause()` with these arguments.
    pub(crate) unsafe fn add_pause(&self, sample: &Sample, pause: *const PauseState, cycles: i64) {
        // SAFETY: KVM's pointer is valid.
        let pause = unsafe { Pause::read(pause) };
        let phase = match phase_of(pause.pause) {
            Some(phase) => phase,
            None => return,
        };
        let now = pause.since.wrapping_add(cycles as u64);
        let last = self.last.load(Relaxed);
        if last == STOPPED {
            if phase == Phase::Userspace {
                // KVM_RUN begins.
                self.start(Self::offset(Self::before_first()), now);
            }
            return;
        }
        // In the handling of an exit that is not recorded yet, or after the last one.
        let cell = match (sample.exited.wrapping_sub(last) as i64) > 0 {
            // SAFETY: `slot()` is less than the number of slots.
            true => unsafe { self.cell_at(Self::offset(config::isa().slot(sample.exit as u32))) },
            false => self.current(),
        };
        let run_loop = match ends_run_loop(phase) {
            // While phases are switched, an exit may have been recorded without them.
            true if (sample.exited.wrapping_sub(last) as i64) > 0 => {
                return self.start(self.current.load(Relaxed) as usize, now);
            }
            true => pause.since.wrapping_sub(last),
            false => 0,
        };
        self.current().spend(Phase::RunLoop, run_loop);
        self.last.store(
            last.wrapping_add(run_loop).wrapping_add(cycles as u64),
            Relaxed,
        );
        // A CPU whose TSC is behind makes it negative.
        increase(&self.since, cycles.min(0) as u64);
        let cycles = cycles.max(0) as u64;
        cell.spend(phase, cycles);
        if phase == Phase::Userspace {
            let offset = self.current.load(Relaxed) as usize;
            let more = Trips { trips: 1, cycles };
            self.trips
                .add(Self::number(offset), pause.userspace_exit, more);
        }
        // SAFETY: KVM calls `record_pause()` with preemption disabled.
        unsafe {
            host::spend(Phase::RunLoop, run_loop);
            host::spend(phase, cycles);
        }
    }

    /// Lets readers use KVM's state.
    ///
    /// # Safety
    ///
    /// The state exists until [`stop`](Phases::stop) is called, or recording is not
    /// started.
    pub(crate) unsafe fn begin(&self, pause: *const PauseState) {
        *self.pause.lock() = pause;
    }

    /// Stops recording, and adds the phase that the vCPU was in at `now`. The vCPU records
    /// nothing meanwhile.
    pub(crate) fn stop(&self, now: u64) {
        let pause = self.pause.lock();
        // SAFETY: KVM's state exists until this returns.
        let (open, ()) = unsafe { self.consistently(*pause, || now, |_| ()) };
        let cell = self.current();
        for phase in Phase::ALL {
            let cycles = open.spent.of(phase);
            cell.spend(phase, cycles);
            // SAFETY: The memory is in use as long as there are vCPUs.
            cpu::without_preemption(|| unsafe { host::spend(phase, cycles) });
        }
        self.until.store(open.until, Relaxed);
        self.last.store(STOPPED, Relaxed);
    }

    /// Sets all counters to zero. Recording is stopped.
    pub(crate) fn clear(&self) {
        let offset = Self::offset(Self::before_first());
        self.current.store(offset as u64, Relaxed);
        self.guest.store(0, Relaxed);
        self.since.store(0, Relaxed);
        self.until.store(0, Relaxed);
        self.cells().iter().for_each(SpentCell::clear);
        self.trips.clear();
    }

    /// The phase that the vCPU is in, up to `now`, if it began in KVM's run loop. Nobody
    /// outside knows the reason that others belong to.
    fn open(last: u64, pause: Pause, now: u64) -> Open {
        let mut spent = Spent::NONE;
        match phase_of(pause.pause) {
            Some(phase) if pause.since != 0 && ends_run_loop(phase) => {
                let positive = |cycles: u64| (cycles as i64).max(0) as u64;
                spent.spend(phase, positive(now.wrapping_sub(pause.since)));
                spent.spend(Phase::RunLoop, positive(pause.since.wrapping_sub(last)));
            }
            _ => (),
        }
        let until = last.wrapping_add(spent.total());
        Open { until, spent }
    }

    /// Calls `read` until it has run while no phase ended.
    ///
    /// # Safety
    ///
    /// `state` is null, or KVM's state exists while recording is not stopped.
    unsafe fn consistently<T>(
        &self,
        state: *const PauseState,
        now: impl Fn() -> u64,
        read: impl Fn(&Spent) -> T,
    ) -> (Open, T) {
        let stopped = || {
            let until = self.until.load(Relaxed);
            let spent = Spent::NONE;
            Open { until, spent }
        };
        for _ in 1..ATTEMPTS {
            let last = self.last.load(Acquire);
            if last == STOPPED {
                let value = read(&Spent::NONE);
                fence(Acquire);
                if self.last.load(Relaxed) == STOPPED {
                    return (stopped(), value);
                }
                continue;
            }
            let pause = || match state.is_null() {
                true => Pause::NONE,
                // SAFETY: Recording is not stopped, so the state exists.
                false => unsafe { Pause::read(state) },
            };
            let before = pause();
            let open = Self::open(last, before, now());
            let value = read(&open.spent);
            let after = pause();
            if before.seq & 1 == 0 && after.seq == before.seq && self.last.load(Relaxed) == last {
                return (open, value);
            }
        }
        // A vCPU that has so many exits is not waited for. It is in no long pause.
        let open = match self.last.load(Acquire) {
            STOPPED => stopped(),
            last => Self::open(last, Pause::NONE, now()),
        };
        (open, read(&Spent::NONE))
    }

    /// Reads the cycles in the guest, and those in each phase.
    pub(crate) fn totals(&self) -> Totals {
        let pause = self.pause.lock();
        // SAFETY: The lock keeps the vCPU from ending.
        let (_, totals) = unsafe {
            self.consistently(*pause, cpu::tsc, |open| {
                let spent = self
                    .cells()
                    .iter()
                    .fold(*open, |sum, cell| sum + cell.load());
                Totals {
                    guest: self.guest.load(Relaxed),
                    spent,
                }
            })
        };
        totals
    }

    /// Copies everything to `copy`, which belongs to no vCPU.
    pub(crate) fn copy_to(&self, copy: &Phases) {
        let pause = self.pause.lock();
        // SAFETY: The lock keeps the vCPU from ending.
        let (open, ()) = unsafe {
            self.consistently(*pause, cpu::tsc, |open| {
                let current = self.current.load(Relaxed) as usize;
                for (slot, (to, from)) in copy.cells().iter().zip(self.cells()).enumerate() {
                    let mut spent = from.load();
                    if Self::offset(slot) == current {
                        spent = spent + *open;
                    }
                    to.clear();
                    Phase::ALL
                        .iter()
                        .for_each(|phase| to.spend(*phase, spent.of(*phase)));
                }
                copy.trips.copy_from(&self.trips);
                copy.guest.store(self.guest.load(Relaxed), Relaxed);
                copy.since.store(self.since.load(Relaxed), Relaxed);
            })
        };
        copy.until.store(open.until, Relaxed);
    }

    /// The TSC at which recording began, and until which the numbers are. Their difference
    /// is the time that passed. For a vCPU that has ended, or a copy.
    pub(crate) fn period(&self) -> (u64, u64) {
        (self.since.load(Relaxed), self.until.load(Relaxed))
    }

    /// The cycles in the guest.
    pub(crate) fn guest(&self) -> u64 {
        self.guest.load(Relaxed)
    }

    /// The cycles that are attributed to `slot`.
    pub(crate) fn spent(&self, slot: usize) -> Spent {
        self.cells().get(slot).map_or(Spent::NONE, SpentCell::load)
    }
}

/// How often a vCPU's phases are read, if they change meanwhile.
pub(crate) const ATTEMPTS: usize = 3;

/// Whether phases may begin to be recorded. They must not while KVM is being switched.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// Lets phases begin to be recorded, or not.
pub(crate) fn allow(allowed: bool) {
    ALLOWED.store(allowed, Relaxed);
}

/// The phase of a pause.
fn phase_of(pause: u16) -> Option<Phase> {
    match u32::from(pause) {
        contract::USERSPACE => Some(Phase::Userspace),
        contract::POLLING => Some(Phase::Polling),
        contract::HALTED => Some(Phase::Halted),
        contract::PREEMPTED => Some(Phase::Preempted),
        contract::SLEEPING => Some(Phase::Sleeping),
        _ => None,
    }
}

/// Whether a pause of this phase begins in KVM's run loop. Others may begin anywhere.
fn ends_run_loop(phase: Phase) -> bool {
    matches!(phase, Phase::Userspace | Phase::Polling | Phase::Halted)
}

/// The phase that a vCPU is in.
struct Open {
    /// The TSC until which the time is attributed, with that phase.
    until: u64,
    /// What that phase adds to the current cell.
    spent: Spent,
}

/// A place for a vCPU's [`Phases`], which are made when they are first recorded.
///
/// # Invariants
///
/// The pointer is null, or came from [`Place::make`], and only `drop()` frees it.
pub(crate) struct Place(AtomicPtr<Phases>);

impl Place {
    pub(crate) const fn new() -> Place {
        // INVARIANT: The pointer is null.
        Place(AtomicPtr::new(ptr::null_mut()))
    }

    /// Makes the phases, unless they are there already.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn make(&self) -> Result<&Phases> {
        if let Some(phases) = self.get() {
            return Ok(phases);
        }
        let new = memory::alloc(Phases::size(), Wait::Yes)?.cast::<Phases>();
        // SAFETY: The memory is new, zeroed and large enough, and aligned to its size.
        // Zero is valid for all fields but the mutex.
        unsafe {
            let phases = new.as_ptr();
            ptr::addr_of_mut!((*phases).pause).write(Mutex::uninit(ptr::null()));
            (*phases).pause.init();
            (*phases).last.store(STOPPED, Relaxed);
            let offset = Phases::offset(Phases::before_first());
            (*phases).current.store(offset as u64, Relaxed);
        }
        // INVARIANT: This is `make()`.
        let made = self
            .0
            .compare_exchange(ptr::null_mut(), new.as_ptr(), AcqRel, Acquire);
        if made.is_err() {
            // SAFETY: Another task was faster, so nobody else has `new`.
            unsafe { memory::free(new.cast()) };
        }
        self.get().ok_or(ENOMEM)
    }

    /// The phases; `None` before they are made.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&Phases> {
        // SAFETY: By the type's invariant, the pointer is valid until `drop()`.
        unsafe { self.0.load(Acquire).as_ref() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(phases) = ptr::NonNull::new(*self.0.get_mut()) {
            // SAFETY: By the type's invariant, `make()` allocated it, and only this frees
            // it. Its fields need no drop.
            unsafe { memory::free(phases.cast()) };
        }
    }
}
