// SPDX-License-Identifier: GPL-2.0

//! Where the time of the selected vCPUs went: sums of budgets.

use crate::{
    select::Selection,
    snapshot::{Counter, Origin, Owner, Snapshot},
    view::percent,
};
use anyhow::{Result, ensure};
use profile::phases::{Phase, Spent};
use std::{collections::BTreeMap, sync::Arc};

/// The name of the part of the time that belongs to no reason.
pub const GUEST: &str = "guest";

/// Where time went.
#[derive(Clone, Debug)]
pub struct Breakdown {
    /// The time of all vCPUs, in cycles.
    pub elapsed: u128,
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
    pub spent: [u128; Phase::ALL.len()],
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

impl Breakdown {
    /// The breakdown of the vCPUs that `selection` selects of `snapshot`.
    ///
    /// # Errors
    ///
    /// If it selects something that does not exist, or if phases are not recorded.
    pub fn new(snapshot: &Snapshot, selection: &Selection) -> Result<Breakdown> {
        selection.check(&[snapshot])?;
        ensure!(
            !snapshot.budgets.is_empty(),
            "there are no phases: on the host, write Y to \
             /sys/module/kvm_exitprof/parameters/phases, and let guests run"
        );
        let is_selected =
            |owner: &Owner| !selection.is_restricted() || selection.has_owner(owner, snapshot);
        let mut elapsed = 0;
        let mut guest = 0;
        let mut sums: BTreeMap<(Option<u32>, Arc<str>), [u128; Phase::ALL.len()]> = BTreeMap::new();
        let mut trips: BTreeMap<_, (u128, u128)> = BTreeMap::new();
        for budget in snapshot.budgets.iter().filter(|b| is_selected(&b.owner)) {
            elapsed += u128::from(budget.elapsed);
            guest += u128::from(budget.guest);
            for row in &budget.spent {
                let sum = sums.entry((row.reason, row.name.clone())).or_default();
                for (sum, more) in sum.iter_mut().zip(Spent::from(row.cycles).0) {
                    *sum += u128::from(more);
                }
            }
            for row in &budget.trips {
                let key = (row.reason, &row.name, row.exit, &row.exit_name);
                let sum = trips.entry(key).or_default();
                sum.0 += u128::from(row.trips);
                sum.1 += u128::from(row.cycles);
            }
        }
        let exits_of = |reason: Option<u32>, name: &str| {
            let counters = snapshot.counters.iter();
            let of_vcpus = |owner: &Owner| {
                matches!(owner, Owner::Vcpu(_) | Owner::Ended) && is_selected(owner)
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
            .map(|((reason, name), spent)| {
                let cycles = spent.iter().sum();
                let (exits, timed) = exits_of(reason, &name);
                Row {
                    exits,
                    timed,
                    reason,
                    name,
                    cycles,
                    percent: percent(cycles, elapsed),
                    spent,
                }
            })
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.cycles));
        let part = |name, cycles| Part {
            name,
            cycles,
            percent: percent(cycles, elapsed),
        };
        let mut parts = vec![part(GUEST, guest)];
        for phase in Phase::ALL {
            let of_phase = rows.iter().map(|row| row.spent[phase as usize]);
            parts.push(part(phase.key(), of_phase.sum()));
        }
        parts.sort_by_key(|part| std::cmp::Reverse(part.cycles));
        rows.truncate(selection.top.unwrap_or(usize::MAX));
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
        trips.sort_by_key(|trips| std::cmp::Reverse(trips.cycles));
        Ok(Breakdown {
            elapsed,
            parts,
            rows,
            trips,
        })
    }
}
