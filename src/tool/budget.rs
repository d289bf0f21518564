// SPDX-License-Identifier: GPL-2.0

//! Where the time of the selected vCPUs went: sums of budgets.

use crate::{
    select::{Key, Reason, Selection},
    snapshot::{Counter, Origin, Owner, Snapshot, budget::Budget},
    view::percent,
};
use anyhow::{Result, ensure};
use profile::phases::{Phase, Spent};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::AddAssign,
    sync::Arc,
};

/// The name of the part of the time that belongs to no reason.
pub const GUEST: &str = "guest";

/// What to do if there are no phases.
pub fn switch_on(snapshot: &Snapshot) -> &'static str {
    match snapshot.origin {
        Origin::Bpf => "BPF sees none, but the module kvm_exitprof does",
        _ => {
            "on the host, write Y to /sys/module/kvm_exitprof/parameters/phases, and let guests \
             run"
        }
    }
}

/// Cycles in each phase.
pub type Cycles = [u128; Phase::ALL.len()];

/// The time of vCPUs, in cycles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// All of it.
    pub elapsed: u128,
    /// That in the guest.
    pub guest: u128,
    /// That in each phase.
    pub spent: Cycles,
}

/// Where time went.
#[derive(Clone, Debug)]
pub struct Breakdown {
    /// The time of all vCPUs.
    pub time: Time,
    /// Each part of it: the guest, and the phases. The largest comes first.
    pub parts: Vec<Part>,
    /// By the reason that led there. The reason with the most time comes first.
    pub rows: Vec<Row>,
    /// The exits to userspace. The one with the most time comes first.
    pub trips: Vec<Trips>,
}

/// A part of the time.
#[derive(Clone, Debug)]
pub struct Part {
    /// The phase, or [`GUEST`].
    pub name: &'static str,
    /// The time in cycles.
    pub cycles: u128,
    /// Its share, in percent.
    pub percent: Option<f64>,
}

/// What exits of a reason led to.
#[derive(Clone, Debug)]
pub struct Row {
    /// The reason's number, if it has one.
    pub reason: Option<u32>,
    /// The reason's name; "none" before the first exit.
    pub name: Arc<str>,
    /// The number of exits.
    pub exits: u128,
    /// The number of those that were timed. Others lead to no phase.
    pub timed: u128,
    /// The cycles in all phases.
    pub cycles: u128,
    /// Their share of the time of all vCPUs, in percent.
    pub percent: Option<f64>,
    /// The cycles in each phase.
    pub spent: Cycles,
}

/// Exits to userspace after exits of a reason, with a `KVM_EXIT_*`.
#[derive(Clone, Debug)]
pub struct Trips {
    /// The reason's number, if it has one.
    pub reason: Option<u32>,
    /// The reason's name; "none" before the first exit.
    pub name: Arc<str>,
    /// The number of the `KVM_EXIT_*`.
    pub exit: u32,
    /// Its name without the prefix.
    pub exit_name: Arc<str>,
    /// How often userspace was entered and left.
    pub trips: u128,
    /// The cycles there.
    pub cycles: u128,
}

impl Time {
    fn add(&mut self, budget: &Budget) {
        self.elapsed += u128::from(budget.elapsed);
        self.guest += u128::from(budget.guest);
        for row in &budget.spent {
            add(&mut self.spent, row.cycles.into());
        }
    }

    /// The guest, and each phase.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let time = *self;
        let phases = Phase::ALL.map(|phase| (phase.key(), time.spent[phase as usize]));
        let parts = [(GUEST, time.guest)].into_iter().chain(phases);
        parts.map(move |(name, cycles)| Part {
            name,
            cycles,
            percent: percent(cycles, time.elapsed),
        })
    }
}

impl AddAssign for Time {
    fn add_assign(&mut self, more: Time) {
        self.elapsed += more.elapsed;
        self.guest += more.guest;
        for (sum, more) in self.spent.iter_mut().zip(more.spent) {
            *sum += more;
        }
    }
}

fn add(sum: &mut Cycles, more: Spent) {
    for (sum, more) in sum.iter_mut().zip(more.0) {
        *sum += u128::from(more);
    }
}

/// The budgets of the selected vCPUs.
fn selected<'a>(snapshot: &'a Snapshot, selection: &Selection) -> impl Iterator<Item = &'a Budget> {
    let budgets = snapshot.budgets.iter();
    budgets.filter(|budget| is_selected(&budget.owner, snapshot, selection))
}

fn is_selected(owner: &Owner, snapshot: &Snapshot, selection: &Selection) -> bool {
    !selection.is_restricted() || selection.has_owner(owner, snapshot)
}

/// Checks that there are phases, or that there will be some.
///
/// # Errors
///
/// If they are not recorded: says how to switch them on.
pub fn check(snapshot: &Snapshot) -> Result<()> {
    let has_phases = !snapshot.budgets.is_empty() || snapshot.phases == Some(true);
    ensure!(has_phases, "there are no phases: {}", switch_on(snapshot));
    Ok(())
}

/// The time of each selected VM, if `selection` groups by VM, or of each vCPU.
pub fn by_owner(snapshot: &Snapshot, selection: &Selection) -> BTreeMap<Key, Time> {
    let mut times: BTreeMap<Key, Time> = BTreeMap::new();
    for budget in selected(snapshot, selection) {
        let key = selection.owner_key(&budget.owner);
        times.entry(key).or_default().add(budget);
    }
    times
}

impl Breakdown {
    /// The breakdown of the vCPUs that `selection` selects of `snapshot`.
    ///
    /// # Errors
    ///
    /// If it selects something that does not exist, or if there are no phases.
    pub fn new(snapshot: &Snapshot, selection: &Selection) -> Result<Breakdown> {
        selection.check(&[snapshot])?;
        ensure!(
            !snapshot.budgets.is_empty(),
            "there are no phases: {}",
            switch_on(snapshot)
        );
        Ok(Breakdown::of_part(snapshot, selection))
    }

    /// The same of a snapshot that may lack something that is selected: vCPUs end, and not all
    /// run all the time.
    pub fn of_part(snapshot: &Snapshot, selection: &Selection) -> Breakdown {
        let reasons = selection.selected_reasons(snapshot);
        let is_wanted = |reason: Option<u32>, name: &str| {
            let is_it = |wanted: &Reason| wanted.is(reason, name);
            reasons.as_ref().is_none_or(|all| all.iter().any(is_it))
        };
        let mut time = Time::default();
        let mut sums: BTreeMap<(Option<u32>, Arc<str>), Cycles> = BTreeMap::new();
        let mut trips: BTreeMap<_, (u128, u128)> = BTreeMap::new();
        for budget in selected(snapshot, selection) {
            time.add(budget);
            for row in &budget.spent {
                let sum = sums.entry((row.reason, row.name.clone())).or_default();
                add(sum, row.cycles.into());
            }
            let wanted = (budget.trips.iter()).filter(|row| is_wanted(row.reason, &row.name));
            for row in wanted {
                let key = (row.reason, &row.name, row.exit, &row.exit_name);
                let sum = trips.entry(key).or_default();
                sum.0 += u128::from(row.trips);
                sum.1 += u128::from(row.cycles);
            }
        }
        let exits_of = |reason: Option<u32>, name: &str| {
            let counters = snapshot.counters.iter();
            let of_vcpus = |owner: &Owner| {
                matches!(owner, Owner::Vcpu(_) | Owner::Ended)
                    && is_selected(owner, snapshot, selection)
            };
            // In a guest, reasons are not told apart.
            let is_same = |c: &&Counter| match snapshot.origin {
                Origin::Host => c.reason == reason && &*c.name == name && of_vcpus(&c.owner),
                _ => true,
            };
            let counters = counters.filter(is_same);
            let numbers = counters.map(|c| (u128::from(c.exits), u128::from(c.timed())));
            numbers.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
        };
        let mut rows: Vec<Row> = sums
            .into_iter()
            .filter(|((reason, name), _)| is_wanted(*reason, name))
            .map(|((reason, name), spent)| {
                let cycles = spent.iter().sum();
                let (exits, timed) = exits_of(reason, &name);
                Row {
                    exits,
                    timed,
                    reason,
                    name,
                    cycles,
                    percent: percent(cycles, time.elapsed),
                    spent,
                }
            })
            .collect();
        rows.sort_by_key(|row| Reverse(row.cycles));
        rows.truncate(selection.top.unwrap_or(usize::MAX));
        let mut parts: Vec<Part> = time.parts().collect();
        parts.sort_by_key(|part| Reverse(part.cycles));
        let mut trips: Vec<Trips> = trips
            .into_iter()
            .map(|((reason, name, exit, exit_name), (trips, cycles))| Trips {
                reason,
                name: name.clone(),
                exit,
                exit_name: exit_name.clone(),
                trips,
                cycles,
            })
            .collect();
        trips.sort_by_key(|trips| Reverse(trips.cycles));
        Breakdown {
            time,
            parts,
            rows,
            trips,
        }
    }

    /// The same, with one row for all reasons.
    pub fn in_one_row(self) -> Breakdown {
        let sum = |figure: fn(&Row) -> u128| self.rows.iter().map(figure).sum();
        let cycles = self.time.spent.iter().sum();
        let row = Row {
            reason: None,
            name: "all".into(),
            exits: sum(|row| row.exits),
            timed: sum(|row| row.timed),
            cycles,
            percent: percent(cycles, self.time.elapsed),
            spent: self.time.spent,
        };
        Breakdown {
            rows: vec![row],
            ..self
        }
    }
}

/// The same snapshot, but with the time from each exit to the next entry in place of that in the
/// handler, as perf measures it. `None` if there are no phases of reasons.
///
/// The time of exits after which KVM re-entered the guest at once is not known. They count as if
/// they had taken none, unless a reason has no others.
pub fn exit_to_entry(snapshot: &Snapshot) -> Option<Snapshot> {
    if snapshot.budgets.is_empty() || snapshot.origin != Origin::Host {
        return None;
    }
    let mut times: HashMap<(&Owner, Option<u32>, &str), u64> = HashMap::new();
    for budget in &snapshot.budgets {
        for row in &budget.spent {
            let cycles = Spent::from(row.cycles).total();
            for owner in [&budget.owner, &Owner::All] {
                let time = times.entry((owner, row.reason, &row.name)).or_default();
                *time = time.saturating_add(cycles);
            }
        }
    }
    let counter = |counter: &Counter| {
        let time = times.get(&(&counter.owner, counter.reason, &*counter.name));
        Counter {
            cycles: time.copied().unwrap_or(0),
            untimed: match time {
                Some(_) if counter.timed() > 0 => Some(0),
                _ => Some(counter.exits),
            },
            histogram: None,
            ..counter.clone()
        }
    };
    Some(Snapshot {
        account: None,
        // vCPUs are not on a CPU all the time.
        cpus: None,
        ..snapshot.with(snapshot.counters.iter().map(counter).collect())
    })
}
