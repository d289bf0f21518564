// SPDX-License-Identifier: GPL-2.0

//! What the BPF program counted, as counters of vCPUs and of all guests.

use super::{
    details,
    memory::{self, Buckets, SLOTS},
};
use crate::{
    snapshot::{
        Counter, Owner, Vcpu,
        detail::{Detail, Entry, Hex},
        id::Id,
    },
    source::machine::Vm,
};
use profile::{counts::Tally, heavy, histogram::Histogram, isa::Isa};
use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// How many details of ended vCPUs are kept, at most.
const MOST_ENDED: usize = 4096;

/// The sums by slot.
type Tallies = [Tally; SLOTS];

/// Who has counted, and what is left of vCPUs that have ended.
#[derive(Debug)]
pub struct Books {
    isa: Isa,
    /// By slot.
    reasons: Vec<(Option<u32>, Arc<str>)>,
    /// Makes identities, of how many vCPUs so far.
    random: RandomState,
    identities: u64,
    /// The vCPUs that were there at the last reading, by thread and number.
    known: HashMap<(u64, u32), Vcpu>,
    /// What the others counted.
    ended: Tallies,
    /// The same by the slot of the reason and the detail's key.
    ended_details: HashMap<(usize, u64), heavy::Entry>,
    /// The entries of the others without an exit before.
    missed: u64,
}

/// A reading.
#[derive(Debug, PartialEq)]
pub struct Page {
    pub attached: Vec<Vcpu>,
    pub counters: Vec<Counter>,
    pub details: Vec<Entry<Detail>>,
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
            identities: 0,
            known: HashMap::new(),
            ended: [Tally::default(); SLOTS],
            ended_details: HashMap::new(),
            missed: 0,
        }
    }

    /// A random number that is the identity of this source.
    pub fn identity(&self) -> Option<Id> {
        Id::new(self.random.hash_one(()))
    }

    /// Takes what vCPUs that have ended counted, and frees their places. `is_gone` says whether
    /// there is no such thread any more: the program does not see how a thread ends that executes
    /// another program, nor, while another end on the same CPU is preempted, any.
    pub fn collect(&mut self, places: &[memory::Vcpu], is_gone: impl Fn(u64) -> bool) {
        let Some((_, places)) = places.split_last() else {
            return;
        };
        for place in places.iter().filter(|place| place.thread() != 0) {
            if !place.has_ended() {
                if !is_gone(place.thread()) {
                    continue;
                }
                place.end();
            }
            add(&mut self.ended, &tallies(place));
            self.missed += place.missed();
            self.end_details(place);
            self.known.remove(&(place.thread(), place.id()));
            place.free();
        }
    }

    /// Reads what `places` and `histograms`, by CPU and slot, have counted. The last place is that
    /// of all vCPUs without their own. `vms` are those that there are.
    pub fn read(&mut self, places: &[memory::Vcpu], histograms: &[Buckets], vms: &[Vm]) -> Page {
        let (mut of_vcpus, mut sums) = (Vec::new(), [Tally::default(); SLOTS]);
        let mut details = Vec::new();
        let mut known = HashMap::new();
        let mut missed = 0;
        let Some((rest, places)) = places.split_last() else {
            return Page {
                attached: Vec::new(),
                counters: Vec::new(),
                details: Vec::new(),
                missed,
            };
        };
        for place in places.iter().filter(|place| place.thread() != 0) {
            let tallies = tallies(place);
            // Of a place that is being taken, the number may not be there yet.
            if tallies.iter().all(|tally| tally.exits == 0) {
                continue;
            }
            missed += place.missed();
            let key = (place.thread(), place.id());
            let vcpu = self.known.remove(&key).unwrap_or_else(|| {
                self.identities += 1;
                Vcpu {
                    vm: name((key.0 >> 32) as u32, vms),
                    vcpu: key.1,
                    id: Id::new(self.random.hash_one(self.identities)),
                }
            });
            let owner = Owner::Vcpu(vcpu.clone());
            of_vcpus.extend(self.counters(&owner, &tallies));
            let entries = place.details().iter().filter_map(memory::Detail::read);
            details.extend(entries.filter_map(|entry| self.detail(&owner, entry)));
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
        let ended = self
            .ended_details
            .iter()
            .map(|(key, entry)| (key.0, *entry));
        details.extend(ended.filter_map(|entry| self.detail(&Owner::Ended, entry)));
        Page {
            attached: self.attached(vms),
            counters,
            details,
            missed: missed + self.missed,
        }
    }

    /// The vCPUs that have exited, and those of `vms` that have not yet.
    fn attached(&self, vms: &[Vm]) -> Vec<Vcpu> {
        let mut attached: Vec<Vcpu> = self.known.values().cloned().collect();
        for vm in vms {
            for &vcpu in &vm.vcpus {
                let is_it = |known: &Vcpu| known.vm == vm.name && known.vcpu == vcpu;
                if !self.known.values().any(is_it) {
                    let (vm, id) = (Arc::clone(&vm.name), None);
                    attached.push(Vcpu { vm, vcpu, id });
                }
            }
        }
        attached.sort();
        attached
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

    /// Adds the details of a vCPU that has ended. If there are too many, those with the fewest exits
    /// go.
    fn end_details(&mut self, place: &memory::Vcpu) {
        for (slot, more) in place.details().iter().filter_map(memory::Detail::read) {
            let sum = self.ended_details.entry((slot, more.key));
            let sum = sum.or_insert(heavy::Entry {
                exits: 0,
                cycles: 0,
                error: 0,
                ..more
            });
            sum.exits = sum.exits.saturating_add(more.exits);
            sum.cycles = sum.cycles.saturating_add(more.cycles);
            sum.error = sum.error.saturating_add(more.error);
        }
        if self.ended_details.len() > MOST_ENDED {
            let mut all: Vec<_> = self.ended_details.drain().collect();
            all.sort_by_key(|(_, entry)| Reverse(entry.exits));
            self.ended_details
                .extend(all.into_iter().take(MOST_ENDED / 2));
        }
    }

    /// A detail of an owner.
    fn detail(&self, owner: &Owner, (slot, entry): (usize, heavy::Entry)) -> Option<Entry<Detail>> {
        let (reason, name) = self.reasons.get(slot)?;
        let kind = details::kind(self.isa, *reason)?;
        Some(Entry {
            owner: owner.clone(),
            reason: *reason,
            name: Arc::clone(name),
            key: Detail {
                // kvm_exit does not tell.
                level: 1,
                kind,
                key: Hex(kind.key(self.isa, entry.key)),
            },
            exits: entry.exits,
            cycles: entry.cycles,
            error: entry.error,
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

/// What KVM's debugfs calls the VM of a process, `<pid>-<fd>`. If there are several or none,
/// `<pid>`.
fn name(process: u32, vms: &[Vm]) -> Arc<str> {
    let mut of_process = vms.iter().filter(|vm| vm.process == process);
    match (of_process.next(), of_process.next()) {
        (Some(only), None) => Arc::clone(&only.name),
        _ => process.to_string().into(),
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

#[cfg(test)]
mod tests {
    use super::{
        super::memory::tests::{buckets, places},
        *,
    };
    use profile::detail::Kind;

    /// Thread 7 of process 12.
    const THREAD: u64 = 12 << 32 | 7;

    fn vms() -> Vec<Vm> {
        vec![vm("12-11", 12, &[0, 1]), vm("123-4", 123, &[])]
    }

    fn vm(name: &str, process: u32, vcpus: &[u32]) -> Vm {
        Vm {
            name: name.into(),
            process,
            vcpus: vcpus.to_vec(),
        }
    }

    /// The exits, cycles and untimed exits of an owner and reason.
    fn tally(page: &Page, is_owner: impl Fn(&Owner) -> bool, reason: u32) -> (u64, u64, u64) {
        let mut found = page
            .counters
            .iter()
            .filter(|counter| is_owner(&counter.owner) && counter.reason == Some(reason));
        let counter = found.next().unwrap();
        assert_eq!(found.next(), None);
        (counter.exits, counter.cycles, counter.untimed.unwrap())
    }

    fn vcpu(number: u32) -> impl Fn(&Owner) -> bool {
        move |owner| matches!(owner, Owner::Vcpu(vcpu) if vcpu.vcpu == number)
    }

    #[test]
    fn exits_are_those_of_vcpus_and_of_all() {
        let (places, histograms) = (places(4), buckets(2 * SLOTS));
        places[0].count(THREAD, 0, 10, 600);
        places[0].count(THREAD, 0, 10, 700);
        places[2].count(THREAD + 1, 1, 10, 50);
        places[2].miss();
        places[3].count(0, 0, 10, 0);
        // On two CPUs.
        histograms[10].count(600);
        histograms[SLOTS + 10].count(700);
        histograms[SLOTS + 10].count(50);
        let mut books = Books::new(Isa::Vmx);
        let page = books.read(&places, &histograms, &vms());
        assert_eq!(tally(&page, vcpu(0), 10), (2, 1300, 0));
        assert_eq!(tally(&page, vcpu(1), 10), (1, 50, 0));
        assert_eq!(tally(&page, |o| *o == Owner::Unattributed, 10), (1, 0, 0));
        assert_eq!(tally(&page, |o| *o == Owner::All, 10), (4, 1350, 0));
        assert_eq!(page.missed, 1);
        let all = &page.counters[0];
        let histogram = all.histogram.as_deref().unwrap();
        assert_eq!(
            (&*all.name, histogram.min, histogram.max),
            ("CPUID", 50, 700)
        );
        assert_eq!((histogram.buckets[5], histogram.buckets[9]), (1, 2));
        let attached: Vec<_> = (page.attached.iter()).map(|v| (&*v.vm, v.vcpu)).collect();
        assert_eq!(attached, [("12-11", 0), ("12-11", 1)]);
        // They are the same at the next reading.
        assert_eq!(books.read(&places, &histograms, &vms()), page);
    }

    #[test]
    fn what_ended_vcpus_counted_stays_and_their_places_are_free() {
        let (places, histograms) = (places(2), buckets(SLOTS));
        let mut books = Books::new(Isa::Svm);
        places[0].count(THREAD, 0, 0x72, 600);
        places[0].miss();
        let id = |page: &Page| page.attached[0].id;
        let first = id(&books.read(&places, &histograms, &[]));
        places[0].end_after(0x72);
        for _ in 0..2 {
            books.collect(&places, |_| false);
            let page = books.read(&places, &histograms, &[]);
            assert_eq!(tally(&page, |o| *o == Owner::Ended, 0x72), (1, 600, 1));
            assert_eq!(tally(&page, |o| *o == Owner::All, 0x72), (1, 600, 1));
            assert_eq!((page.attached, page.missed), (vec![], 1));
            assert_eq!(places[0].thread(), 0);
        }
        places[0].count(THREAD, 0, 0x72, 5);
        let page = books.read(&places, &histograms, &[]);
        assert_eq!(tally(&page, vcpu(0), 0x72), (1, 5, 0));
        // It is another thread with the same number.
        assert!(id(&page).is_some() && id(&page) != first);
        assert_eq!(tally(&page, |o| *o == Owner::All, 0x72), (2, 605, 1));
    }

    #[test]
    fn threads_that_are_gone_have_ended() {
        let (places, histograms) = (places(3), buckets(SLOTS));
        let mut books = Books::new(Isa::Vmx);
        places[0].count(THREAD, 0, 10, 600);
        places[0].vanish(10);
        places[1].count(THREAD + 1, 1, 10, 600);
        books.collect(&places, |thread| thread == THREAD);
        let page = books.read(&places, &histograms, &[]);
        assert_eq!(tally(&page, |o| *o == Owner::Ended, 10), (1, 600, 1));
        assert_eq!(tally(&page, vcpu(1), 10), (1, 600, 0));
        assert_eq!(places[0].thread(), 0);
    }

    #[test]
    fn details_are_those_of_the_model_and_stay() {
        let (places, histograms) = (places(2), buckets(SLOTS));
        let mut books = Books::new(Isa::Vmx);
        // OUTSB with REP to port 0x3f8, as the CPU says it, and as the model does.
        let (raw, key) = (0x03f8_0030, Hex(0x31_03f8));
        places[0].count(THREAD, 0, 30, 600);
        places[0].note(5, 30, raw, 600);
        let details = books.read(&places, &histograms, &[]).details;
        let [detail] = details.as_slice() else {
            panic!("{details:?}")
        };
        let want = Detail {
            level: 1,
            kind: Kind::Io,
            key,
        };
        assert_eq!((detail.key, detail.exits, detail.cycles), (want, 1, 600));
        assert!(matches!(detail.owner, Owner::Vcpu(_)));
        places[0].end_after(30);
        for _ in 0..2 {
            books.collect(&places, |_| false);
            let details = books.read(&places, &histograms, &[]).details;
            assert_eq!((details.len(), &details[0].owner), (1, &Owner::Ended));
            assert_eq!((details[0].key, details[0].exits), (want, 1));
        }
    }

    #[test]
    fn vms_are_called_as_in_debugfs_if_it_is_clear() {
        assert_eq!(&*name(12, &vms()), "12-11");
        assert_eq!(&*name(1, &vms()), "1");
        let two = [vm("12-11", 12, &[]), vm("12-13", 12, &[])];
        assert_eq!(&*name(12, &two), "12");
        // Another thread of the process has made it.
        assert_eq!(&*name(12, &[vm("15-11", 12, &[])]), "15-11");
    }

    #[test]
    fn vcpus_without_exits_are_there() {
        let (places, histograms) = (places(2), buckets(SLOTS));
        places[0].count(THREAD, 1, 10, 600);
        let page = Books::new(Isa::Vmx).read(&places, &histograms, &vms());
        let attached: Vec<_> = (page.attached.iter())
            .map(|vcpu| (&*vcpu.vm, vcpu.vcpu, vcpu.id.is_some()))
            .collect();
        assert_eq!(attached, [("12-11", 0, false), ("12-11", 1, true)]);
    }
}
