// SPDX-License-Identifier: GPL-2.0

//! Heavy hitters: exact while keys fit, and bounded always.

use profile::heavy::{copy, hash, Entry, Set, Sums, WAYS};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

const SETS: usize = 8;

/// A table of sets, beside the truth.
struct Table {
    sets: [Set; SETS],
    seq: AtomicU32,
    multiplier: u64,
    truth: HashMap<u64, (u64, u64)>,
}

impl Table {
    fn new(multiplier: u64) -> Table {
        Table {
            sets: [Set::EMPTY; SETS],
            seq: AtomicU32::new(0),
            multiplier: multiplier | 1,
            truth: HashMap::new(),
        }
    }

    fn set_of(&self, key: u64) -> usize {
        hash(key, self.multiplier, SETS)
    }

    fn count(&mut self, key: u64, cycles: u64) {
        let set = &self.sets[self.set_of(key)];
        set.count(key, cycles, &self.seq);
        let truth = self.truth.entry(key).or_default();
        *truth = (truth.0 + 1, truth.1 + cycles);
    }

    /// Checks what the module's documentation promises, if the table has exits of all of
    /// these keys.
    fn check(&self) {
        for (index, set) in self.sets.iter().enumerate() {
            let entries: Vec<Entry> = set.entries().collect();
            let own = self
                .truth
                .iter()
                .filter(|(key, _)| self.set_of(**key) == index);
            let own: Vec<_> = own.collect();
            let all: u64 = own.iter().map(|(_, (exits, _))| exits).sum();
            for (nth, entry) in entries.iter().enumerate() {
                assert!(entries[..nth].iter().all(|other| other.key != entry.key));
                let (exits, cycles) = self.truth[&entry.key];
                assert!(entry.exits <= exits && exits <= entry.exits + entry.error);
                assert!(entry.cycles <= cycles);
                assert!(entry.error <= all / WAYS as u64, "{entry:?} of {all}");
                if own.len() <= WAYS {
                    assert_eq!((entry.exits, entry.cycles, entry.error), (exits, cycles, 0));
                }
            }
            for (key, (exits, _)) in &own {
                let is_there = entries.iter().any(|entry| entry.key == **key);
                assert!(
                    is_there || *exits <= all / WAYS as u64,
                    "{key} with {exits} of {all}"
                );
                assert!(is_there || own.len() > WAYS);
            }
        }
    }
}

/// Few keys, among them 0, many of them in a set; or any.
fn keys() -> impl Strategy<Value = Vec<u64>> {
    let few = prop::collection::vec(0u64..12, 0..300);
    let more = prop::collection::vec((0u64..200).prop_map(|n| n * n), 0..1500);
    prop_oneof![few, more, prop::collection::vec(any::<u64>(), 0..1500)]
}

proptest! {
    #[test]
    fn counts_are_exact_or_bounded(keys in keys(), multiplier: u64) {
        let mut table = Table::new(multiplier);
        for (nth, key) in keys.iter().enumerate() {
            table.count(*key, nth as u64 % 1000);
        }
        table.check();
        prop_assert!(table.seq.load(Relaxed) % 2 == 0);

        let other: [Set; SETS] = [Set::EMPTY; SETS];
        copy(&other, &table.sets, &table.seq);
        for (a, b) in other.iter().zip(&table.sets) {
            prop_assert!(a.entries().eq(b.entries()));
            a.clear();
            prop_assert_eq!(a.entries().count(), 0);
        }
    }

    /// As when vCPUs end, each with a secret of its own.
    #[test]
    fn sums_of_tables_have_bounds(all in prop::collection::vec((keys(), any::<u64>()), 1..5)) {
        let mut sums = Sums::<SETS>::NONE;
        let mut truth: HashMap<u64, (u64, u64)> = HashMap::new();
        let mut is_exact = true;
        for (keys, multiplier) in &all {
            let mut table = Table::new(*multiplier);
            keys.iter().for_each(|key| table.count(*key, 1));
            is_exact &= table.sets.iter().flat_map(Set::entries).all(|entry| entry.error == 0);
            sums.add(&table.sets, table.multiplier, 7);
            for (key, (exits, cycles)) in table.truth {
                let sum = truth.entry(key).or_default();
                *sum = (sum.0 + exits, sum.1 + cycles);
            }
        }
        is_exact &= sums.sets().iter().all(|set| set.entries().count() < WAYS);
        let mut copy = Sums::<SETS>::NONE;
        copy.copy_from(&sums);
        for entry in copy.sets().iter().flat_map(Set::entries) {
            let (exits, cycles) = truth[&entry.key];
            prop_assert!(entry.exits <= exits && entry.cycles <= cycles);
            prop_assert!(exits <= entry.exits + entry.error, "{:?}, in truth {}", entry, exits);
            prop_assert!(!is_exact || (entry.exits, entry.error) == (exits, 0));
        }
        let count = copy.sets().iter().flat_map(Set::entries).count();
        prop_assert!(!is_exact || count == truth.len());
        copy.clear();
        prop_assert_eq!(copy.sets().iter().flat_map(Set::entries).count(), 0);
    }
}

/// However a guest chooses keys, those that matter stay.
#[test]
fn a_flood_of_keys_does_not_hide_the_heavy_ones() {
    let mut table = Table::new(0x9e37_79b9_7f4a_7c15);
    for n in 0..1_000_000u64 {
        table.count(if n % 4 == 0 { 0x3f8 } else { 1_000_000 + n }, 10);
    }
    table.check();
    let set = &table.sets[table.set_of(0x3f8)];
    let heavy = set.entries().find(|entry| entry.key == 0x3f8).unwrap();
    assert_eq!((heavy.exits, heavy.error), (250_000, 0));
}

#[test]
fn keys_are_spread_over_sets() {
    for keys in [
        (0..4096).collect::<Vec<u64>>(),
        (0..4096).map(|n| n << 12).collect(),
    ] {
        let mut numbers = [0; SETS];
        keys.iter()
            .for_each(|key| numbers[hash(*key, 0x9e37_79b9_7f4a_7c15, SETS)] += 1);
        assert!(
            numbers.iter().all(|n| (256..1024).contains(n)),
            "{numbers:?}"
        );
    }
}
