// SPDX-License-Identifier: GPL-2.0

//! The counters of all exits of the host. Each CPU writes its own counters. Readers sum
//! over all CPUs.

use crate::{
    config,
    profile::{
        cells::{Cells, Counter, HistogramCell},
        histogram::Histogram,
        isa::Isa,
        phases::{Phase, Spent, Totals, PHASES},
    },
    spread::{Read, Spread, SLOT_SIZE},
    sys::{
        clock,
        percpu::{PerCpu, Zeroable},
    },
};
use core::{
    arch::asm,
    marker::PhantomData,
    mem, ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed},
};
use kernel::prelude::*;

// SAFETY: It consists of `AtomicU64`, for which zero is valid, and which any CPU may
// read.
unsafe impl Zeroable for Counter {}
// SAFETY: As for `Counter`.
unsafe impl Zeroable for HistogramCell {}

/// The number of histograms that fit into one per-CPU allocation of 32 KiB.
const PER_PART: usize = 128;
#[allow(clippy::assertions_on_constants)] // `MAX_SLOTS` is the model's.
const _: () = assert!(Isa::MAX_SLOTS <= 2 * PER_PART);

/// The memory in use, as per-CPU pointers, which are null if there is none. The arrays of
/// counters and of untimed exits have [`Isa::slots`] elements for all exits, followed by
/// as many for unattributed exits: the exits of vCPUs without a profile.
///
/// All accesses are relaxed. KVM calls the module only after it has published the
/// registration, and `record()` only after it has patched its code. The parameters' lock
/// orders the rest.
struct InUse {
    /// The cycles of all vCPUs by phase, and in the guest.
    phases: AtomicPtr<AtomicU64>,
    counters: AtomicPtr<Counter>,
    untimed: AtomicPtr<AtomicU64>,
    histograms: [AtomicPtr<HistogramCell>; 2],
    id: AtomicU64,
}

static IN_USE: InUse = InUse {
    phases: AtomicPtr::new(ptr::null_mut()),
    counters: AtomicPtr::new(ptr::null_mut()),
    untimed: AtomicPtr::new(ptr::null_mut()),
    histograms: [
        AtomicPtr::new(ptr::null_mut()),
        AtomicPtr::new(ptr::null_mut()),
    ],
    id: AtomicU64::new(0),
};

/// The per-CPU pointer to the counters, for `record()`.
#[inline(always)]
pub(crate) fn counters() -> *mut Counter {
    IN_USE.counters.load(Relaxed)
}

/// The per-CPU pointer to the numbers of untimed exits, for `record()`.
#[inline(always)]
pub(crate) fn untimed() -> *mut AtomicU64 {
    IN_USE.untimed.load(Relaxed)
}

/// The allocation that has the histogram of `slot`, and the histogram's index in it.
#[inline(always)]
fn part(isa: Isa, slot: usize) -> (&'static AtomicPtr<HistogramCell>, usize) {
    let [first, second] = &IN_USE.histograms;
    if isa.slots() <= PER_PART || slot < PER_PART {
        (first, slot)
    } else {
        (second, slot.wrapping_sub(PER_PART))
    }
}

/// The per-CPU pointer to the histogram of `slot`, for `record()`.
///
/// # Safety
///
/// The memory is in use and includes histograms. `slot` is less than [`Isa::slots`].
#[inline(always)]
pub(crate) unsafe fn histogram(isa: Isa, slot: usize) -> *mut HistogramCell {
    let (part, index) = part(isa, slot);
    let part: *const AtomicPtr<HistogramCell> = part;
    // SAFETY: Nobody writes the pointer while the memory is in use. (It is not loaded
    // atomically, so that the compiler can fold the load into the addition.)
    let part = unsafe { *part.cast::<*mut HistogramCell>() };
    part.cast::<u8>()
        .wrapping_add(offset::<HistogramCell>(index))
        .cast()
}

/// Adds to the cycles of a phase.
///
/// # Safety
///
/// Preemption is disabled, and the memory is in use.
pub(crate) unsafe fn spend(phase: Phase, cycles: u64) {
    // SAFETY: The caller guarantees that the address is in per-CPU memory. An aligned
    // addition is atomic on its CPU, the only one that writes it.
    unsafe {
        asm!(
            "add qword ptr gs:[{phases} + {phase} * 8], {cycles}",
            phases = in(reg) IN_USE.phases.load(Relaxed),
            phase = in(reg) phase as usize,
            cycles = in(reg) cycles,
            options(nostack),
        );
    }
}

// The assembly below relies on these places.
const _: () = assert!(
    Phase::ExitPath as usize == 0
        && Phase::Handler as usize == 1
        && Phase::RunLoop as usize == 2
        && PHASES == 8
);

/// Adds the cycles between two exits: in the run loop, and in the guest.
///
/// # Safety
///
/// As for [`spend`].
#[inline(always)]
pub(crate) unsafe fn spend_between(run_loop: u64, guest: u64) {
    // SAFETY: As in `spend()`.
    unsafe {
        asm!(
            "add qword ptr gs:[{phases} + 16], {run_loop}",
            "add qword ptr gs:[{phases} + 64], {guest}",
            phases = in(reg) IN_USE.phases.load(Relaxed),
            run_loop = in(reg) run_loop,
            guest = in(reg) guest,
            options(nostack),
        );
    }
}

/// Adds the cycles of an exit: in its path, and in its handler.
///
/// # Safety
///
/// As for [`spend`].
#[inline(always)]
pub(crate) unsafe fn spend_in_exit(exit_path: u64, handler: u64) {
    // SAFETY: As in `spend()`.
    unsafe {
        asm!(
            "add qword ptr gs:[{phases}], {exit_path}",
            "add qword ptr gs:[{phases} + 8], {handler}",
            phases = in(reg) IN_USE.phases.load(Relaxed),
            exit_path = in(reg) exit_path,
            handler = in(reg) handler,
            options(nostack),
        );
    }
}

/// The offset of element `index` of an array of `T` in bytes. Offsets are small, and
/// 32-bit arithmetic takes an instruction less than 64-bit.
#[inline(always)]
pub(crate) fn offset<T>(index: usize) -> usize {
    (index as u32).wrapping_mul(mem::size_of::<T>() as u32) as usize
}

/// The memory that `record()` adds to, and that [`Host`] reads.
///
/// # Invariants
///
/// [`IN_USE`] points to this memory, or is null.
pub(crate) struct Memory {
    counters: PerCpu<Counter>,
    untimed: PerCpu<AtomicU64>,
    histograms: [Option<PerCpu<HistogramCell>>; 2],
    phases: PerCpu<AtomicU64>,
}

impl Memory {
    /// The size of the memory of each possible CPU in bytes.
    pub(crate) fn size() -> usize {
        let histogram = match config::histograms() {
            true => mem::size_of::<HistogramCell>(),
            false => 0,
        };
        let slot = SLOT_SIZE.wrapping_mul(2).wrapping_add(histogram);
        let phases = mem::size_of::<[AtomicU64; PHASES + 1]>();
        config::isa()
            .slots()
            .wrapping_mul(slot)
            .wrapping_add(phases)
    }

    /// Allocates counters, and histograms unless `histograms=N`. They are not in use
    /// until [`publish`](Memory::publish).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_new() -> Result<Memory> {
        let slots = config::isa().slots();
        let part = |len| match len {
            0 => Ok(None),
            _ => PerCpu::try_new(len).map(Some),
        };
        let (first, rest) = match config::histograms() {
            true => (slots.min(PER_PART), slots.saturating_sub(PER_PART)),
            false => (0, 0),
        };
        // INVARIANT: `IN_USE` is null, because there is only one profiler.
        Ok(Memory {
            counters: PerCpu::try_new(slots.wrapping_mul(2))?,
            untimed: PerCpu::try_new(slots.wrapping_mul(2))?,
            histograms: [part(first)?, part(rest)?],
            phases: PerCpu::try_new(PHASES + 1)?,
        })
    }

    /// Puts the memory into use until it is dropped.
    pub(crate) fn publish(&self) {
        for (to, from) in IN_USE.histograms.iter().zip(&self.histograms) {
            let part = from.as_ref().map_or(ptr::null_mut(), PerCpu::as_ptr);
            to.store(part, Relaxed);
        }
        IN_USE.phases.store(self.phases.as_ptr(), Relaxed);
        IN_USE.untimed.store(self.untimed.as_ptr(), Relaxed);
        IN_USE.id.store(clock::random_u64(), Relaxed);
        IN_USE.counters.store(self.counters.as_ptr(), Relaxed);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        IN_USE.counters.store(ptr::null_mut(), Relaxed);
        IN_USE.phases.store(ptr::null_mut(), Relaxed);
        IN_USE.untimed.store(ptr::null_mut(), Relaxed);
        for part in &IN_USE.histograms {
            part.store(ptr::null_mut(), Relaxed);
        }
    }
}

/// A token that keeps the memory in use.
///
/// # Safety
///
/// While a value of the type exists, no other task loads or unloads the module.
pub(crate) unsafe trait KeepsHost {}

/// The counters of all CPUs.
///
/// # Invariants
///
/// The memory is in use during `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Host<'a>(PhantomData<&'a Memory>);

impl<'a> Host<'a> {
    /// The counters in use; `None` unless the module is loaded.
    pub(crate) fn get(_keeper: &'a impl KeepsHost) -> Option<Host<'a>> {
        // INVARIANT: The memory is in use, and `_keeper` keeps it in use during `'a`.
        (!counters().is_null()).then(|| Host(PhantomData))
    }

    /// The random number that this load of the module has chosen.
    pub(crate) fn id(&self) -> u64 {
        IN_USE.id.load(Relaxed)
    }

    /// The counters of each CPU: of all exits, and of unattributed exits.
    fn cpus(&self) -> impl Iterator<Item = (Cells<'a>, Cells<'a>)> {
        let slots = config::isa().slots();
        let both = slots.wrapping_mul(2);
        // SAFETY: By the type's invariant, the memory is in use. `Memory::try_new()`
        // allocated arrays of this length.
        let (counters, untimed) = unsafe {
            (
                PerCpu::arrays(counters(), both),
                PerCpu::arrays(untimed(), both),
            )
        };
        counters.zip(untimed).filter_map(
            move |(counters, untimed): (&'a [Counter], &'a [AtomicU64])| {
                let all = Cells {
                    counters: counters.get(..slots)?,
                    untimed: untimed.get(..slots)?,
                };
                let unattributed = Cells {
                    counters: counters.get(slots..)?,
                    untimed: untimed.get(slots..)?,
                };
                Some((all, unattributed))
            },
        )
    }

    /// The exits of vCPUs without a profile.
    pub(crate) fn unattributed(self) -> Unattributed<'a> {
        Unattributed(self)
    }

    /// The histogram of `slot`; `None` with `histograms=N`.
    pub(crate) fn histogram(&self, slot: usize) -> Option<Histogram> {
        let mut sum = Histogram::default();
        self.histograms(slot)?
            .for_each(|cell| sum.add(&cell.load()));
        Some(sum)
    }

    /// The histogram of `slot` of each CPU.
    fn histograms(&self, slot: usize) -> Option<impl Iterator<Item = &'a HistogramCell>> {
        let isa = config::isa();
        if slot >= isa.slots() {
            return None;
        }
        let (part, index) = part(isa, slot);
        let part = part.load(Relaxed);
        // SAFETY: By the type's invariant, the memory is in use. `slot` is one of those
        // in `part`, so the array has more than `index` elements.
        let arrays = |part| unsafe { PerCpu::arrays(part, index.wrapping_add(1)) };
        (!part.is_null())
            .then(|| arrays(part).filter_map(move |cpu: &[HistogramCell]| cpu.get(index)))
    }

    fn phases(&self) -> impl Iterator<Item = &'a [AtomicU64]> {
        // SAFETY: By the type's invariant, the memory is in use. `Memory::try_new()`
        // allocated arrays of this length.
        unsafe { PerCpu::arrays(IN_USE.phases.load(Relaxed), PHASES + 1) }
    }

    /// The cycles of all vCPUs in the guest and in each phase that has ended.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for cpu in self.phases() {
            let mut cycles = [0; PHASES];
            for (to, from) in cycles.iter_mut().zip(cpu) {
                *to = from.load(Relaxed);
            }
            let guest = cpu.get(PHASES).map_or(0, |guest| guest.load(Relaxed));
            totals = totals
                + Totals {
                    guest,
                    spent: Spent(cycles),
                };
        }
        totals
    }

    /// Sets all counters to zero. Nobody may add to them meanwhile.
    pub(crate) fn clear(&self) {
        self.phases()
            .flatten()
            .for_each(|cycles| cycles.store(0, Relaxed));
        for (all, unattributed) in self.cpus() {
            all.clear();
            unattributed.clear();
            clock::cond_resched();
        }
        for slot in 0..config::isa().slots() {
            self.histograms(slot)
                .into_iter()
                .flatten()
                .for_each(HistogramCell::clear);
        }
    }
}

impl Spread for Host<'_> {
    fn each(&self, _: Read, mut with: impl FnMut(Cells<'_>)) {
        self.cpus().for_each(|(all, _)| with(all));
    }
}

/// See [`Host::unattributed`].
pub(crate) struct Unattributed<'a>(Host<'a>);

impl Spread for Unattributed<'_> {
    fn each(&self, _: Read, mut with: impl FnMut(Cells<'_>)) {
        // With `per_vcpu=N`, all exits are unattributed, and are not counted twice.
        let apart = config::per_vcpu();
        self.0
            .cpus()
            .for_each(|(all, unattributed)| with(if apart { unattributed } else { all }));
    }
}
