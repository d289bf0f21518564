// SPDX-License-Identifier: GPL-2.0

//! Makes details and nested exits consistent with the counters that they are parts of.

use super::{
    Counter, Snapshot,
    detail::{Entry, Nested},
    owner::Owner,
};
use foldhash::HashMap;
use std::hash::Hash;

impl Snapshot {
    /// Makes details and nested exits consistent with the counters.
    pub(crate) fn settle_details(&mut self) {
        self.details = settled(std::mem::take(&mut self.details), &self.counters);
        self.places = settled(std::mem::take(&mut self.places), &self.counters);
        add_up_nested(&mut self.counters);
    }
}

impl Counter {
    /// Sets how many of its exits came from nested guests.
    pub fn set_nested(&mut self, nested: Nested) {
        let nested = nested.within(self.exits, self.cycles);
        self.nested = (nested != Nested::default()).then(|| Box::new(nested));
    }
}

/// Gives the counters of all guests those exits from nested guests that their vCPUs have, for the
/// module counts them by vCPU only.
fn add_up_nested(counters: &mut [Counter]) {
    let mut sums: HashMap<Option<u32>, Nested> = HashMap::default();
    let parts = (counters.iter()).filter(|c| matches!(c.owner, Owner::Vcpu(_) | Owner::Ended));
    for (reason, nested) in parts.filter_map(|c| Some((c.reason, c.nested.as_deref()?))) {
        let sum = sums.entry(reason).or_default();
        *sum = sum.plus(*nested);
    }
    for counter in counters.iter_mut().filter(|c| c.owner == Owner::All) {
        let sum = sums.get(&counter.reason).copied();
        counter.set_nested(sum.unwrap_or_default());
    }
}

/// One entry for each owner, reason and key, and no more exits and cycles than `counters` have:
/// without ids, vCPUs of two VMs may have the same name, and the module reads its numbers one by
/// one while exits go on.
fn settled<K: Copy + Eq + Hash>(entries: Vec<Entry<K>>, counters: &[Counter]) -> Vec<Entry<K>> {
    if entries.is_empty() {
        return entries;
    }
    let mut left: HashMap<(Owner, Option<u32>), (u64, u64)> = (counters.iter())
        .map(|counter| {
            let key = (counter.owner.clone(), counter.reason);
            (key, (counter.exits, counter.cycles))
        })
        .collect();
    let mut places: HashMap<(Owner, Option<u32>, K), usize> = HashMap::default();
    let mut all: Vec<Entry<K>> = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let key = (entry.owner.clone(), entry.reason, entry.key);
        let Some((exits, cycles)) = left.get_mut(&(key.0.clone(), key.1)) else {
            continue;
        };
        entry.exits = entry.exits.min(*exits);
        if entry.exits == 0 && entry.error == 0 {
            continue;
        }
        entry.cycles = entry.cycles.min(*cycles);
        (*exits, *cycles) = (*exits - entry.exits, *cycles - entry.cycles);
        match places.get(&key) {
            Some(&place) => {
                let sum = &mut all[place];
                sum.exits += entry.exits;
                sum.cycles += entry.cycles;
                sum.error = sum.error.saturating_add(entry.error);
            }
            None => {
                places.insert(key, all.len());
                all.push(entry);
            }
        }
    }
    all
}
