// SPDX-License-Identifier: GPL-2.0

//! What the BPF program counted, as counters of vCPUs and of all guests.

use super::memory::{self, Buckets, SLOTS};
use crate::snapshot::{Counter, Owner, Vcpu, id::Id};
use profile::{counts::Tally, histogram::Histogram, isa::Isa};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// The sums by slot.
type Tallies = [Tally; SLOTS];

/// Who has counted, and what is left of vCPUs that have ended.
#[derive(Debug)]
pub struct Books {
    isa: Isa,
    /// By slot.
    reasons: Vec<(Option<u32>, Arc<str>)>,
    /// Makes identities.
    random: RandomState,
    /// The vCPUs that were there at the last reading, by thread and number.
    known: HashMap<(u64, u32), Vcpu>,
    /// What the others counted.
    ended: Tallies,
    /// The entries of the others without an exit before.
    missed: u64,
}

/// A reading.
#[derive(Debug, PartialEq)]
pub struct Page {
    pub attached: Vec<Vcpu>,
    pub counters: Vec<Counter>,
    /// The entries without an exit before.
    pub missed: u64,
}

impl Books {
    /// Nothing was read yet.
    pub fn new(isa: Isa) -> Books {
        let reason = |slot| {
            let reason = isa.reason(slot);
            let name = reason.map_or("other".into(), |reason| isa.name(reason).to_string());
            (reason, name.into())
        };
        Books {
            isa,
            reasons: (0..isa.slots()).map(reason).collect(),
            random: RandomState::new(),
            known: HashMap::new(),
            ended: [Tally::default(); SLOTS],
            missed: 0,
        }
    }

    /// A random number that is the identity of this source.
    pub fn identity(&self) -> Option<Id> {
        Id::new(self.random.hash_one(()))
    }

    /// Reads what `places` and `histograms`, by CPU and slot, have counted. The last place is that
    /// of all vCPUs without their own. Frees the places of vCPUs that have ended. `vm` tells what
    /// the VM of a process is called.
    pub fn read(
        &mut self,
        places: &[memory::Vcpu],
        histograms: &[Buckets],
        mut vm: impl FnMut(u32) -> Arc<str>,
    ) -> Page {
        let (mut of_vcpus, mut sums) = (Vec::new(), [Tally::default(); SLOTS]);
        let mut known = HashMap::new();
        let mut missed = 0;
        let Some((rest, places)) = places.split_last() else {
            return Page { attached: Vec::new(), counters: Vec::new(), missed };
        };
        for place in places.iter().filter(|place| place.thread() != 0) {
            if place.has_ended() {
                add(&mut self.ended, &tallies(place));
                self.missed += place.missed();
                place.free();
                continue;
            }
            let tallies = tallies(place);
            // Of a place that is being taken, the number may not be there yet.
            if tallies.iter().all(|tally| tally.exits == 0) {
                continue;
            }
            missed += place.missed();
            let key = (place.thread(), place.id());
            let vcpu = self.known.remove(&key).unwrap_or_else(|| Vcpu {
                vm: vm((key.0 >> 32) as u32),
                vcpu: key.1,
                id: Id::new(self.random.hash_one(key)),
            });
            of_vcpus.extend(self.counters(&Owner::Vcpu(vcpu.clone()), &tallies));
            add(&mut sums, &tallies);
            known.insert(key, vcpu);
        }
        self.known = known;
        let rest = tallies(rest);
        add(&mut sums, &self.ended);
        add(&mut sums, &rest);
        let mut counters: Vec<Counter> = self.counters(&Owner::All, &sums).collect();
        for counter in counters.iter_mut().filter(|counter| counter.timed() > 0) {
            counter.histogram = self.histogram(counter.reason, histograms).map(Box::new);
        }
        counters.append(&mut of_vcpus);
        counters.extend(self.counters(&Owner::Ended, &self.ended));
        counters.extend(self.counters(&Owner::Unattributed, &rest));
        let mut attached: Vec<Vcpu> = self.known.values().cloned().collect();
        attached.sort();
        Page {
            attached,
            counters,
            missed: missed + self.missed,
        }
    }

    /// A counter for each reason with exits.
    fn counters(&self, owner: &Owner, tallies: &Tallies) -> impl Iterator<Item = Counter> {
        let rows = tallies.iter().zip(&self.reasons);
        rows.filter(|(tally, _)| tally.exits > 0)
            .map(|(tally, (reason, name))| Counter {
                owner: owner.clone(),
                reason: *reason,
                name: Arc::clone(name),
                exits: tally.exits,
                cycles: tally.cycles,
                untimed: Some(tally.untimed),
                histogram: None,
                nested: None,
            })
    }

    /// The histogram of a reason on all CPUs, if it has one.
    fn histogram(&self, reason: Option<u32>, of_cpus: &[Buckets]) -> Option<Histogram> {
        let slot = reason.map_or(self.isa.other_slot(), |reason| self.isa.slot(reason));
        let mut sum = Histogram::default();
        for buckets in of_cpus.iter().skip(slot).step_by(SLOTS) {
            sum.add(&buckets.read());
        }
        (sum.min <= sum.max).then_some(sum)
    }
}

/// What a place has counted.
fn tallies(place: &memory::Vcpu) -> Tallies {
    place.tallies().each_ref().map(memory::Tally::read)
}

fn add(sums: &mut Tallies, more: &Tallies) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = *sum + *more;
    }
}
