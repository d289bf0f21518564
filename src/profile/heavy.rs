// SPDX-License-Identifier: GPL-2.0

//! The heavy hitters among keys: exact as long as the keys fit, and bounded always.
//!
//! A table consists of sets, and a set has [`WAYS`] entries. A key belongs to the set that
//! its hash chooses. While a set has a free entry, each of its keys has one, and its numbers
//! are exact. Afterwards, a new key takes the entry of the key with the fewest exits, as in
//! the algorithm Space-Saving (Metwally, Agrawal, El Abbadi 2005): what that key had becomes
//! the new key's *error*. So for each entry
//!
//! - the key has occurred at least `exits` times, and at most `exits + error` times;
//! - `error` is at most the exits of all the set's keys, divided by [`WAYS`];
//! - a key with more than that many exits has an entry.
//!
//! The multiplier of the hash is secret, so a guest cannot choose keys that fill one set.
//! [`Sums`] of tables, such as those of vCPUs that have ended, keep the first promise. Their errors
//! may be larger, because each table may have had keys that are in none of its entries.
//!
//! The exits and cycles of keys that lost their entries are in no entry. Whoever knows the
//! sum of all keys gets them by subtraction.

use super::cells::increase;
use core::sync::atomic::{
    fence, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// The number of entries of a set.
pub const WAYS: usize = 8;

/// A set. One task writes it. All bytes zero is an empty set.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Set {
    keys: [AtomicU64; WAYS],
    exits: [AtomicU64; WAYS],
    cycles: [AtomicU64; WAYS],
    errors: [AtomicU64; WAYS],
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: u64,
    /// How often it occurred since it got its entry.
    pub exits: u64,
    /// The cycles of these exits, as far as they were timed.
    pub cycles: u64,
    /// How often it may have occurred before, at most.
    pub error: u64,
}

/// Which of `sets` sets a key belongs to. `sets` is a power of two, and more than 1. The
/// multiplier is odd.
#[inline(always)]
pub fn hash(key: u64, multiplier: u64, sets: usize) -> usize {
    (key.wrapping_mul(multiplier) >> (sets.leading_zeros().wrapping_add(1) & 63)) as usize
}

impl Set {
    /// No keys.
    #[allow(clippy::declare_interior_mutable_const)] // Each use is a set of its own.
    pub const EMPTY: Set = {
        const ZERO: AtomicU64 = AtomicU64::new(0);
        Set {
            keys: [ZERO; WAYS],
            exits: [ZERO; WAYS],
            cycles: [ZERO; WAYS],
            errors: [ZERO; WAYS],
        }
    };

    fn ways(&self) -> impl Iterator<Item = Way<'_>> {
        let numbers = self.exits.iter().zip(&self.cycles).zip(&self.errors);
        self.keys
            .iter()
            .zip(numbers)
            .map(|(key, ((exits, cycles), error))| Way {
                key,
                exits,
                cycles,
                error,
            })
    }

    /// Counts an exit of `key`. `seq` is the table's: see [`copy`].
    ///
    /// A free entry has key 0 and no exits. Entries are taken in order, so if key 0 has an
    /// entry, that is found first.
    #[inline(always)]
    pub fn count(&self, key: u64, cycles: u64, seq: &AtomicU32) {
        // The first entry mostly has the key, and needs no more than its own instructions.
        let ([first, keys @ ..], [of_first, exits @ ..], [time_of_first, times @ ..]) =
            (&self.keys, &self.exits, &self.cycles);
        if first.load(Relaxed) == key {
            increase(of_first, 1);
            increase(time_of_first, cycles);
            return;
        }
        for (own, (exits, time)) in keys.iter().zip(exits.iter().zip(times)) {
            if own.load(Relaxed) == key {
                increase(exits, 1);
                increase(time, cycles);
                return;
            }
        }
        self.count_new(key, cycles, seq);
    }

    #[cold]
    #[inline(never)]
    fn count_new(&self, key: u64, cycles: u64, seq: &AtomicU32) {
        let entry = Entry {
            key,
            exits: 1,
            cycles,
            error: 0,
        };
        self.replace(entry, seq);
    }

    /// How often a key without an entry has occurred, at most. Whoever takes an entry gets an
    /// error, so without errors, no key has lost its entry.
    fn lost(&self) -> u64 {
        if self.ways().all(|way| way.load().error == 0) {
            return 0;
        }
        let most = |way: Way<'_>| way.load().exits.saturating_add(way.load().error);
        self.ways().map(most).min().unwrap_or(0)
    }

    /// Whether a key has an entry.
    fn has(&self, key: u64) -> bool {
        self.entries().any(|entry| entry.key == key)
    }

    /// Gives an entry to a key that has none. `seq` is odd meanwhile, so that readers try
    /// again.
    fn replace(&self, entry: Entry, seq: &AtomicU32) {
        let most = |way: &Way<'_>| {
            way.exits
                .load(Relaxed)
                .saturating_add(way.error.load(Relaxed))
        };
        if let Some(way) = self.ways().min_by_key(most) {
            let error = entry.error.saturating_add(most(&way));
            seq.store(seq.load(Relaxed).wrapping_add(1), Relaxed);
            fence(Release);
            way.store(Entry { error, ..entry });
            seq.store(seq.load(Relaxed).wrapping_add(1), Release);
        }
    }

    /// Adds what another table knows of a key. `lost` is how often the key occurred, at most, if
    /// it has no entry here although none was evicted.
    fn add(&self, entry: Entry, lost: u64) {
        let is_own = |way: &Way<'_>| {
            let own = way.load();
            own.key == entry.key && own.exits > 0
        };
        match self.ways().find(is_own) {
            Some(way) => {
                increase(way.exits, entry.exits);
                increase(way.cycles, entry.cycles);
                increase(way.error, entry.error);
            }
            None => {
                let error = entry.error.saturating_add(lost);
                self.replace(Entry { error, ..entry }, &AtomicU32::new(0));
            }
        }
    }

    /// The entries that are taken. They may be of several times if the task counts meanwhile.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        self.ways()
            .map(|way| way.load())
            .filter(|entry| entry.exits > 0)
    }

    /// Becomes the same as another set.
    pub fn copy_from(&self, other: &Set) {
        self.ways()
            .zip(other.ways())
            .for_each(|(to, from)| to.store(from.load()));
    }

    /// Forgets all keys.
    pub fn clear(&self) {
        self.ways().for_each(|way| way.store(Entry::default()));
    }
}

/// The counters of an entry.
struct Way<'a> {
    key: &'a AtomicU64,
    exits: &'a AtomicU64,
    cycles: &'a AtomicU64,
    error: &'a AtomicU64,
}

impl Way<'_> {
    fn load(&self) -> Entry {
        Entry {
            key: self.key.load(Relaxed),
            exits: self.exits.load(Relaxed),
            cycles: self.cycles.load(Relaxed),
            error: self.error.load(Relaxed),
        }
    }

    fn store(&self, entry: Entry) {
        self.key.store(entry.key, Relaxed);
        self.exits.store(entry.exits, Relaxed);
        self.cycles.store(entry.cycles, Relaxed);
        self.error.store(entry.error, Relaxed);
    }
}

/// The sums of tables that nobody writes any more.
#[derive(Debug)]
pub struct Sums<const SETS: usize> {
    sets: [Set; SETS],
    /// How often a key that is in no entry has occurred in all tables, at most, unless it was
    /// evicted here.
    lost: u64,
}

impl<const SETS: usize> Sums<SETS> {
    /// No keys.
    #[allow(clippy::declare_interior_mutable_const)] // Each use has sums of its own.
    pub const NONE: Sums<SETS> = Sums {
        sets: [Set::EMPTY; SETS],
        lost: 0,
    };

    /// Adds a table, whose hash has `theirs` as its multiplier. That of the sums is `ours`, always
    /// the same.
    pub fn add(&mut self, table: &[Set], theirs: u64, ours: u64) {
        if table.is_empty() {
            return;
        }
        let set_of = |key| table.get(hash(key, theirs, table.len()));
        for way in self.sets.iter().flat_map(Set::ways) {
            let entry = way.load();
            if let Some(set) =
                set_of(entry.key).filter(|set| entry.exits > 0 && !set.has(entry.key))
            {
                increase(way.error, set.lost());
            }
        }
        for entry in table.iter().flat_map(Set::entries) {
            if let Some(set) = self.sets.get(hash(entry.key, ours, SETS)) {
                set.add(entry, self.lost);
            }
        }
        let lost = table.iter().map(Set::lost).max().unwrap_or(0);
        self.lost = self.lost.saturating_add(lost);
    }

    /// The sets.
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// Becomes the same as other sums.
    pub fn copy_from(&mut self, other: &Sums<SETS>) {
        self.lost = other.lost;
        self.sets
            .iter()
            .zip(&other.sets)
            .for_each(|(to, from)| to.copy_from(from));
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.lost = 0;
        self.sets.iter().for_each(Set::clear);
    }
}

/// Copies `from` to `to`, and tries again while a key gets an entry meanwhile, for a few
/// times. If it does all the time, some entries of the copy may have the numbers of another
/// key.
pub fn copy(to: &[Set], from: &[Set], seq: &AtomicU32) {
    for _ in 0..100 {
        let before = seq.load(Acquire);
        for (to, from) in to.iter().zip(from) {
            to.copy_from(from);
        }
        fence(Acquire);
        if before & 1 == 0 && seq.load(Relaxed) == before {
            return;
        }
    }
}
