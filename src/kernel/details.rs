// SPDX-License-Identifier: GPL-2.0

//! What tells a vCPU's exits of a reason apart: details, the guest's code, and nested guests.
//!
//! Only the vCPU's task counts.

use crate::{
    config,
    profile::{
        cells::{increase, Cells, Counter},
        detail::{self, Code, Kind, Kinds, Nested, KINDS},
        heavy::{copy, hash, Set, Sums},
        isa::Isa,
    },
    sys::{
        clock,
        contract::{Sample, CODE, DETAIL_SHIFT, NESTED, REFLECTED},
        error::ENOMEM,
        memory::{self, Wait},
    },
};
use core::{
    mem, ptr, slice,
    sync::atomic::{
        AtomicPtr, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};
use kernel::prelude::*;

/// The sets of each kind of detail, and of each level.
pub(crate) const SETS: usize = 8;
/// The kinds of L1 and then those of L2.
const LEVELS_KINDS: usize = KINDS * 2;
/// The sets of the guest's code, for all reasons.
pub(crate) const CODE_SETS: usize = 64;

/// Arrays that are made when they are needed.
///
/// # Invariants
///
/// The pointer is null, or came from [`make`](Array::make) as an allocation of `len` zeroed
/// elements, and only `drop()` frees it.
pub(crate) struct Array<T> {
    start: AtomicPtr<T>,
    len: usize,
}

/// Types of arrays' elements.
///
/// # Safety
///
/// Zeroed memory is a valid value, any task may read it, and it needs no drop.
pub(crate) unsafe trait Element {}

// SAFETY: These consist of atomic numbers.
unsafe impl Element for Set {}
// SAFETY: As above.
unsafe impl Element for Counter {}

impl<T: Element> Array<T> {
    pub(crate) const fn new(len: usize) -> Array<T> {
        // INVARIANT: The pointer is null.
        Array {
            start: AtomicPtr::new(ptr::null_mut()),
            len,
        }
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        memory::rounded(self.len.wrapping_mul(mem::size_of::<T>()))
    }

    /// Makes the array, unless it is there already.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn make(&self) -> Result<&[T]> {
        if self.get().is_none() {
            let new = memory::alloc(self.size(), Wait::Yes)?.cast::<T>();
            // INVARIANT: This is `make()`.
            let made = self
                .start
                .compare_exchange(ptr::null_mut(), new.as_ptr(), AcqRel, Acquire);
            if made.is_err() {
                // SAFETY: Another task was faster, so nobody else has `new`.
                unsafe { memory::free(new.cast()) };
            }
        }
        self.get().ok_or(ENOMEM)
    }

    /// The array; `None` before it is made.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<&[T]> {
        let start = self.start.load(Acquire);
        // SAFETY: By the type's invariant, there are so many elements until `drop()`, and
        // zeroed memory is valid.
        (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, self.len) })
    }
}

impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        if let Some(start) = ptr::NonNull::new(*self.start.get_mut()) {
            // SAFETY: By the type's invariant, `make()` allocated it, and only this frees it.
            unsafe { memory::free(start.cast()) };
        }
    }
}

/// The details of a vCPU.
pub(crate) struct Details {
    /// Odd while a key gets an entry.
    seq: AtomicU32,
    /// The secret of the hash.
    multiplier: u64,
    /// [`SETS`] sets of each kind, of L1 and then of L2. There is no kind 0.
    kinds: Array<Set>,
    /// Keys of code, with the slots of the reasons.
    code: Array<Set>,
    /// The exits from a nested guest by slot, and then those that were reflected.
    nested: Array<Counter>,
}

impl Details {
    /// No details. `secret` is a random number.
    pub(crate) fn new(secret: u64) -> Details {
        Details {
            seq: AtomicU32::new(0),
            multiplier: secret | 1,
            kinds: Array::new(LEVELS_KINDS * SETS),
            code: Array::new(CODE_SETS),
            nested: Array::new(config::isa().slots().wrapping_mul(2)),
        }
    }

    /// Makes room for nested exits.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn make_nested(&self) -> Result {
        self.nested.make().map(|_| ())
    }

    /// Makes room for what the parameters ask for. What there is no memory for is not
    /// recorded.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn make(&self) {
        if config::details() != Kinds::NONE {
            let _ = self.kinds.make();
        }
        if config::code() != Code::Off {
            let _ = self.code.make();
        }
    }

    /// The bytes of memory that it takes.
    pub(crate) fn size(&self) -> usize {
        let of_sets = |array: &Array<Set>| array.get().map_or(0, |_| array.size());
        let nested = self.nested.get().map_or(0, |_| self.nested.size());
        of_sets(&self.kinds)
            .wrapping_add(of_sets(&self.code))
            .wrapping_add(nested)
    }

    /// Counts what the sample says of an exit. Without bits 63:32, that is nothing.
    #[inline(always)]
    pub(crate) fn count(&self, sample: &Sample, cycles: u64) {
        match (sample.exit >> 32) as u32 & ((NESTED | CODE) >> 32) as u32 {
            0 => self.count_detail(sample, cycles, 1),
            _ => self.count_all(sample, cycles),
        }
    }

    #[inline(always)]
    fn count_detail(&self, sample: &Sample, cycles: u64, level: u8) {
        let kind = (sample.exit >> DETAIL_SHIFT) as usize % KINDS;
        let sets = match self.kinds.get() {
            Some(sets) if kind != 0 => sets,
            _ => return,
        };
        let hash = hash(sample.detail, self.multiplier, SETS);
        let number = hash.wrapping_add(first_set(kind, level));
        // SAFETY: `new()` has made `kinds` of `LEVELS_KINDS * SETS` sets: `SETS` for each kind,
        // which is less than `KINDS`, of levels 1 and 2. `hash()` is less than `SETS`.
        let set = unsafe { sets.get_unchecked(number) };
        set.count(sample.detail, cycles, &self.seq);
    }

    #[cold]
    #[inline(never)]
    fn count_all(&self, sample: &Sample, cycles: u64) {
        let level = match sample.exit & NESTED {
            0 => 1,
            _ => 2,
        };
        self.count_detail(sample, cycles, level);
        let slot = config::isa().slot(sample.exit as u32);
        if sample.exit & CODE != 0 {
            self.count_code(sample, slot, level, cycles);
        }
        if level == 2 {
            self.count_nested(slot, cycles);
        }
        if sample.exit & REFLECTED != 0 {
            self.count_nested(slot.wrapping_add(config::isa().slots()), cycles);
        }
    }

    fn count_code(&self, sample: &Sample, slot: usize, level: u8, cycles: u64) {
        let key = config::code().key(sample.rip, sample.cpl as u8);
        let key = detail::with_slot(key, slot, level);
        let hash = hash(key, self.multiplier, CODE_SETS);
        if let Some(set) = self.code.get().and_then(|sets| sets.get(hash)) {
            set.count(key, cycles, &self.seq);
        }
    }

    fn count_nested(&self, index: usize, cycles: u64) {
        if let Some(counter) = self.nested.get().and_then(|nested| nested.get(index)) {
            increase(&counter.exits, 1);
            increase(&counter.cycles, cycles);
        }
    }

    /// The nested exits of `slot`.
    pub(crate) fn nested(&self, slot: usize) -> Nested {
        let slots = config::isa().slots();
        let cells = |start: usize| Cells {
            counters: self
                .nested
                .get()
                .and_then(|nested| nested.get(start..start.wrapping_add(slots)))
                .unwrap_or(&[]),
            untimed: &[],
        };
        let (l2, reflected) = (cells(0).slot(slot), cells(slots).slot(slot));
        Nested {
            l2_exits: l2.exits,
            l2_cycles: l2.cycles,
            reflected_exits: reflected.exits,
            reflected_cycles: reflected.cycles,
        }
    }

    /// Copies the sets of `kind` and a level to `to`, while no key gets an entry; an empty
    /// slice if there are none.
    pub(crate) fn copy_kind<'a>(&self, kind: Kind, level: u8, to: &'a [Set]) -> &'a [Set] {
        let start = first_set(kind as usize, level);
        let sets = self.kinds.get();
        self.copy(
            sets.and_then(|sets| sets.get(start..start.wrapping_add(SETS))),
            to,
        )
    }

    /// Copies the sets of code in the same way.
    pub(crate) fn copy_code<'a>(&self, to: &'a [Set]) -> &'a [Set] {
        self.copy(self.code.get(), to)
    }

    fn copy<'a>(&self, from: Option<&[Set]>, to: &'a [Set]) -> &'a [Set] {
        match (from, from.and_then(|from| to.get(..from.len()))) {
            (Some(from), Some(to)) => {
                copy(to, from, &self.seq);
                to
            }
            _ => &[],
        }
    }

    /// Adds all details to `sums`. The vCPU's task counts none meanwhile.
    pub(crate) fn add_to(&self, sums: &mut EndedDetails) {
        let ours = SECRET.load(Relaxed);
        let kinds = self.kinds.get().unwrap_or(&[]).chunks(SETS);
        for (own, sums) in kinds.zip(&mut sums.kinds) {
            sums.add(own, self.multiplier, ours);
        }
        sums.code
            .add(self.code.get().unwrap_or(&[]), self.multiplier, ours);
        for (slot, sum) in sums.nested.iter_mut().enumerate() {
            *sum = *sum + self.nested(slot);
        }
    }

    /// Sets all to zero. The vCPU's task counts nothing meanwhile.
    pub(crate) fn clear(&self) {
        for sets in [&self.kinds, &self.code] {
            sets.get().unwrap_or(&[]).iter().for_each(Set::clear);
        }
        for counter in self.nested.get().unwrap_or(&[]) {
            counter.exits.store(0, Relaxed);
            counter.cycles.store(0, Relaxed);
        }
    }
}

/// The number of the first set of a kind, for guests of level 1 or 2.
#[inline(always)]
fn first_set(kind: usize, level: u8) -> usize {
    let before = usize::from(level >> 1).wrapping_mul(KINDS);
    before.wrapping_add(kind).wrapping_mul(SETS)
}

/// The secret of the hash of [`EndedDetails`].
static SECRET: AtomicU64 = AtomicU64::new(1);

/// Chooses the secret of the sums. Nothing may be in them.
pub(crate) fn init() {
    SECRET.store(clock::random_u64() | 1, Relaxed);
}

/// The sums of vCPUs that have ended.
pub(crate) struct EndedDetails {
    kinds: [Sums<SETS>; LEVELS_KINDS],
    code: Sums<CODE_SETS>,
    nested: [Nested; Isa::MAX_SLOTS],
}

impl EndedDetails {
    #[allow(clippy::declare_interior_mutable_const)] // Each use has sums of its own.
    pub(crate) const NONE: EndedDetails = EndedDetails {
        kinds: [Sums::NONE; LEVELS_KINDS],
        code: Sums::NONE,
        nested: [Nested::NONE; Isa::MAX_SLOTS],
    };

    pub(crate) fn copy_from(&mut self, other: &EndedDetails) {
        for (to, from) in self.kinds.iter_mut().zip(&other.kinds) {
            to.copy_from(from);
        }
        self.code.copy_from(&other.code);
        self.nested.copy_from_slice(&other.nested);
    }

    pub(crate) fn clear(&mut self) {
        self.kinds.iter_mut().for_each(Sums::clear);
        self.code.clear();
        self.nested
            .iter_mut()
            .for_each(|nested| *nested = Nested::NONE);
    }

    /// The sets of `kind` and a level.
    pub(crate) fn kind(&self, kind: Kind, level: u8) -> &[Set] {
        let number = first_set(kind as usize, level) / SETS;
        self.kinds.get(number).map_or(&[], Sums::sets)
    }

    /// The sets of code.
    pub(crate) fn code(&self) -> &[Set] {
        self.code.sets()
    }

    /// The nested exits of `slot`.
    pub(crate) fn nested(&self, slot: usize) -> Nested {
        self.nested.get(slot).copied().unwrap_or(Nested::NONE)
    }
}
