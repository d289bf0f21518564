// SPDX-License-Identifier: GPL-2.0

//! The counters of successive snapshots as series, for a system that stores their values:
//! no series falls while the counters go on, and there are no more than a given number.
//!
//! Such a system computes rates. It takes a value that falls for a counter that started from
//! zero, so a VM's exits must not move from one series to another.

use crate::snapshot::{Origin, Owner, Snapshot, Vcpu, budget::Budget, id::Id};
use clap::ValueEnum;
use foldhash::{HashMap, HashMapExt, HashSet};
use jiff::{SignedDuration, Timestamp};
use profile::{
    counts::Tally,
    phases::{Spent, Totals},
};
use std::{collections::BTreeMap, sync::Arc};

/// Whose exits have series of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// All guests together
    Host,
    /// Each VM
    Vm,
    /// Each vCPU
    Vcpu,
}

/// Whose series it is: a VM's, or a vCPU's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// The VM: `<pid>-<fd>`.
    pub vm: Arc<str>,
    /// The number of the vCPU.
    pub vcpu: Option<u32>,
}

/// Exits by reason, and time by phase.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The exits, by the reason's name.
    pub tallies: BTreeMap<Arc<str>, Tally>,
    /// The cycles in the guest and in each phase.
    pub phases: Totals,
}

/// The series of a VM or vCPU.
#[derive(Clone, Debug)]
pub struct Group {
    /// Whose they are.
    pub label: Label,
    /// The number of vCPUs that it has now.
    pub vcpus: usize,
    /// When all of them were zero, if that is known.
    pub created: Option<Timestamp>,
    /// The values.
    pub part: Part,
}

/// The values of all series after a snapshot, but for those of the host by reason, which are
/// the snapshot's own.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// When the host's counters started from zero, if that is known.
    pub started: Option<Timestamp>,
    /// The series of VMs or vCPUs.
    pub groups: Vec<Group>,
    /// The sum of all that have none, and of vCPUs that ended without any. `None` if nobody has
    /// series, because only those of the host are wanted.
    pub other: Option<Part>,
    /// The last values of those that have ended; with `groups` and `other`, these add up to
    /// the host's.
    pub ended: Part,
    /// The cycles in the guest, of all vCPUs; `None` if phases were not recorded.
    pub guest: Option<u64>,
    /// The cycles in each phase, by the name of the reason that led there.
    pub phases: BTreeMap<Arc<str>, Spent>,
    /// Exits to userspace, and the cycles there, by the names of the reason and of the
    /// `KVM_EXIT_*`.
    pub trips: BTreeMap<[Arc<str>; 2], (u64, u64)>,
}

/// What is known of a VM or vCPU with series.
#[derive(Debug, Default)]
struct Known {
    created: Option<Timestamp>,
    /// The vCPUs that exist, with their values as last read.
    live: HashMap<Vcpu, Part>,
    /// The last values of vCPUs that have ended, while others exist.
    gone: Part,
}

/// The counters that snapshots belong to.
type Count = (Origin, Option<Id>, u32);

/// Makes series of successive snapshots.
#[derive(Debug)]
pub struct Series {
    by: By,
    limit: usize,
    count: Option<Count>,
    /// When the last snapshot was read.
    read: Option<Timestamp>,
    known: BTreeMap<Label, Known>,
    /// Those that came when there was no room. They never get series, or these would take
    /// over what others have counted.
    crowded: HashSet<Label>,
    /// The last values of all vCPUs that had series, and have ended.
    gone: Part,
    /// What was shown last.
    last: Values,
}

impl Part {
    /// Combines each number with that of `other`.
    fn combine(&mut self, other: &Part, with: fn(u64, u64) -> u64) {
        for (name, more) in &other.tallies {
            let own = self.tallies.entry(Arc::clone(name)).or_default();
            own.exits = with(own.exits, more.exits);
            own.cycles = with(own.cycles, more.cycles);
            own.untimed = with(own.untimed, more.untimed);
        }
        self.phases.guest = with(self.phases.guest, other.phases.guest);
        combine(&mut self.phases.spent, other.phases.spent, with);
    }

    fn add(&mut self, other: &Part) {
        self.combine(other, u64::saturating_add);
    }

    fn spend(&mut self, budget: &Budget) {
        self.phases.guest = self.phases.guest.saturating_add(budget.guest);
        for row in &budget.spent {
            combine(
                &mut self.phases.spent,
                row.cycles.into(),
                u64::saturating_add,
            );
        }
    }
}

fn combine(spent: &mut Spent, other: Spent, with: fn(u64, u64) -> u64) {
    for (own, more) in spent.0.iter_mut().zip(other.0) {
        *own = with(*own, more);
    }
}

impl Series {
    /// No series yet, and later at most `limit` VMs or vCPUs with series of their own.
    pub fn new(by: By, limit: usize) -> Series {
        Series {
            by,
            limit,
            count: None,
            read: None,
            known: BTreeMap::new(),
            crowded: HashSet::default(),
            gone: Part::default(),
            last: Values::default(),
        }
    }

    /// The values after the next snapshot.
    pub fn next(&mut self, snapshot: &Snapshot) -> Values {
        let count = (snapshot.origin, snapshot.identity, snapshot.epoch);
        if self.count.replace(count) != Some(count) {
            *self = Series {
                count: Some(count),
                ..Series::new(self.by, self.limit)
            };
            self.last.started = started(snapshot);
        }
        let mut values = Values {
            started: self.last.started,
            ..Values::default()
        };
        self.spend(snapshot, &mut values);
        if self.by != By::Host && snapshot.origin.is_host() {
            self.divide(snapshot, &mut values);
        }
        self.read = snapshot.clock;
        self.last = values.clone();
        values.groups = self.groups();
        values
    }

    /// Adds up phases and exits to userspace of all vCPUs. A phase that has not ended may have
    /// been estimated too high by some cycles, so these sums may fall: then the last ones hold.
    fn spend(&self, snapshot: &Snapshot, values: &mut Values) {
        for budget in &snapshot.budgets {
            let guest = values.guest.unwrap_or(0).saturating_add(budget.guest);
            values.guest = Some(guest);
            for row in &budget.spent {
                let spent = values.phases.entry(Arc::clone(&row.name)).or_default();
                combine(spent, row.cycles.into(), u64::saturating_add);
            }
            for row in &budget.trips {
                let names = [&row.name, &row.exit_name].map(Arc::clone);
                let sum = values.trips.entry(names).or_default();
                sum.0 = sum.0.saturating_add(row.trips);
                sum.1 = sum.1.saturating_add(row.cycles);
            }
        }
        values.guest = values.guest.max(self.last.guest);
        for (name, before) in &self.last.phases {
            let spent = values.phases.entry(Arc::clone(name)).or_default();
            combine(spent, *before, u64::max);
        }
        for (names, before) in &self.last.trips {
            let sum = values.trips.entry(names.clone()).or_default();
            *sum = (sum.0.max(before.0), sum.1.max(before.1));
        }
    }

    /// Divides the exits among VMs or vCPUs.
    fn divide(&mut self, snapshot: &Snapshot, values: &mut Values) {
        let (mut live, mut other) = self.parts(snapshot);
        let labels: HashSet<Label> = live.keys().map(|vcpu| self.label(vcpu)).collect();
        self.crowded.retain(|label| labels.contains(label));

        // What ended: its last values stay where they were.
        for known in self.known.values_mut() {
            for (_, part) in known.live.extract_if(|vcpu, _| !live.contains_key(vcpu)) {
                known.gone.add(&part);
                self.gone.add(&part);
            }
        }
        let mut ended = self.last.ended.clone();
        self.known.retain(|_, known| {
            if known.live.is_empty() {
                ended.add(&known.gone);
            }
            !known.live.is_empty()
        });

        // Those with the lowest process numbers come first, if there is not room for all.
        let mut vcpus: Vec<Vcpu> = live.keys().cloned().collect();
        vcpus.sort_unstable();
        for vcpu in vcpus {
            let label = self.label(&vcpu);
            let Some(mut part) = live.remove(&vcpu) else {
                continue;
            };
            let has_room = self.known.len() < self.limit && !self.crowded.contains(&label);
            if !has_room && !self.known.contains_key(&label) {
                self.crowded.insert(label);
                other.add(&part);
                continue;
            }
            let created = self.read.or(values.started);
            let known = self.known.entry(label).or_insert_with(|| Known {
                created,
                ..Known::default()
            });
            if let Some(before) = known.live.get(&vcpu) {
                part.combine(before, u64::max);
            }
            known.live.insert(vcpu, part);
        }

        // What vCPUs with series had when they ended is not that of others.
        other.combine(&self.gone, u64::saturating_sub);
        if let Some(before) = &self.last.other {
            other.combine(before, u64::max);
        }
        values.other = Some(other);
        values.ended = ended;
    }

    /// The numbers of each vCPU, and those of vCPUs that have ended or have no counters.
    fn parts(&self, snapshot: &Snapshot) -> (HashMap<Vcpu, Part>, Part) {
        let mut live: HashMap<Vcpu, Part> = HashMap::with_capacity(snapshot.attached.len());
        let mut other = Part::default();
        for vcpu in &snapshot.attached {
            live.entry(vcpu.clone()).or_default();
        }
        for counter in &snapshot.counters {
            let part = match &counter.owner {
                Owner::Vcpu(vcpu) => match live.get_mut(vcpu) {
                    Some(part) => part,
                    None => live.entry(vcpu.clone()).or_default(),
                },
                Owner::Ended | Owner::Unattributed => &mut other,
                Owner::All | Owner::Hidden => continue,
            };
            let sum = part.tallies.entry(Arc::clone(&counter.name)).or_default();
            let Tally {
                exits,
                cycles,
                untimed,
            } = counter.tally();
            sum.exits = sum.exits.saturating_add(exits);
            sum.cycles = sum.cycles.saturating_add(cycles);
            sum.untimed = sum.untimed.saturating_add(untimed);
        }
        for budget in &snapshot.budgets {
            match &budget.owner {
                Owner::Vcpu(vcpu) => live.entry(vcpu.clone()).or_default().spend(budget),
                _ => other.spend(budget),
            }
        }
        (live, other)
    }

    fn label(&self, vcpu: &Vcpu) -> Label {
        Label {
            vm: Arc::clone(&vcpu.vm),
            vcpu: (self.by == By::Vcpu).then_some(vcpu.vcpu),
        }
    }

    fn groups(&self) -> Vec<Group> {
        let group = |(label, known): (&Label, &Known)| {
            let mut part = known.gone.clone();
            known.live.values().for_each(|live| part.add(live));
            Group {
                label: label.clone(),
                vcpus: known.live.len(),
                created: known.created,
                part,
            }
        };
        self.known.iter().map(group).collect()
    }
}

/// When the counters of a snapshot started from zero, by the date and time of day.
fn started(snapshot: &Snapshot) -> Option<Timestamp> {
    let ns = snapshot.time_ns.checked_sub(snapshot.since_ns?)?;
    let age = SignedDuration::from_nanos(i64::try_from(ns).ok()?);
    snapshot.clock?.checked_sub(age).ok()
}
