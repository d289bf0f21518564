// SPDX-License-Identifier: GPL-2.0

//! Where the time of vCPUs went.

use super::owner::Owner;
use profile::phases::{Phase, Spent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where the time of a vCPU went, or that of all vCPUs that have ended. Times are in cycles
/// of the host's TSC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Budget {
    /// Whose time.
    pub owner: Owner,
    /// The time that passed while phases were recorded.
    pub elapsed: u64,
    /// The time in the guest.
    pub guest: u64,
    /// The time in each phase, by the reason of the exit that led there.
    pub spent: Vec<SpentRow>,
    /// The exits to userspace.
    pub trips: Vec<TripsRow>,
}

/// The time in each phase after exits of a reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpentRow {
    /// The reason's number; none for reasons without a number of their own, and before the
    /// first exit.
    pub reason: Option<u32>,
    /// The kernel's name for the reason, or "none" before the first exit.
    pub name: Arc<str>,
    /// The time.
    #[serde(flatten)]
    pub cycles: Phases,
}

/// The time in each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Phases {
    /// From the exit to the handler.
    pub exit_path: u64,
    /// In KVM's handler.
    pub handler: u64,
    /// From the handler to the next entry, and to and from userspace.
    pub run_loop: u64,
    /// In userspace.
    pub userspace: u64,
    /// Halted, while the vCPU's task polled.
    pub polling: u64,
    /// Halted, while the vCPU's task slept.
    pub halted: u64,
    /// Switched out, though the task could run.
    pub preempted: u64,
    /// Switched out, because the task waited.
    pub sleeping: u64,
}

impl From<Spent> for Phases {
    fn from(spent: Spent) -> Phases {
        Phases {
            exit_path: spent.of(Phase::ExitPath),
            handler: spent.of(Phase::Handler),
            run_loop: spent.of(Phase::RunLoop),
            userspace: spent.of(Phase::Userspace),
            polling: spent.of(Phase::Polling),
            halted: spent.of(Phase::Halted),
            preempted: spent.of(Phase::Preempted),
            sleeping: spent.of(Phase::Sleeping),
        }
    }
}

impl From<Phases> for Spent {
    fn from(phases: Phases) -> Spent {
        let mut spent = Spent::NONE;
        for (phase, cycles) in [
            (Phase::ExitPath, phases.exit_path),
            (Phase::Handler, phases.handler),
            (Phase::RunLoop, phases.run_loop),
            (Phase::Userspace, phases.userspace),
            (Phase::Polling, phases.polling),
            (Phase::Halted, phases.halted),
            (Phase::Preempted, phases.preempted),
            (Phase::Sleeping, phases.sleeping),
        ] {
            spent.spend(phase, cycles);
        }
        spent
    }
}

/// The exits to userspace after exits of a reason, with a `KVM_EXIT_*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TripsRow {
    /// The reason's number; none as in [`SpentRow`], and for trips that did not fit into a
    /// vCPU's table.
    pub reason: Option<u32>,
    /// The kernel's name for the reason, or "none" before the first exit.
    pub name: Arc<str>,
    /// The number of the `KVM_EXIT_*`; 47 stands for all later ones.
    pub exit: u32,
    /// Its name without the prefix, or "other".
    pub exit_name: Arc<str>,
    /// How often userspace was entered and left.
    pub trips: u64,
    /// The time there.
    pub cycles: u64,
}

impl TripsRow {
    /// Whether both rows are of the same reason and `KVM_EXIT_*`.
    fn is_same(&self, other: &TripsRow) -> bool {
        (self.reason, &self.name, self.exit) == (other.reason, &other.name, other.exit)
    }
}

impl Budget {
    /// All names in it.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let vm = match &self.owner {
            Owner::Vcpu(vcpu) => Some(&vcpu.vm),
            _ => None,
        };
        let spent = self.spent.iter().map(|row| &row.name);
        let trips = self
            .trips
            .iter()
            .flat_map(|row| [&row.name, &row.exit_name]);
        vm.into_iter().chain(spent).chain(trips)
    }

    /// Adds another budget.
    pub(super) fn add(&mut self, other: Budget) {
        self.elapsed = self.elapsed.saturating_add(other.elapsed);
        self.guest = self.guest.saturating_add(other.guest);
        self.spent.extend(other.spent);
        self.trips.extend(other.trips);
    }

    /// Takes away what there was before. A phase that has not ended may have been estimated
    /// too high by some cycles.
    pub(crate) fn subtract(&mut self, before: &Budget) {
        self.elapsed = self.elapsed.saturating_sub(before.elapsed);
        self.guest = self.guest.saturating_sub(before.guest);
        for row in &mut self.spent {
            let same = |b: &&SpentRow| (b.reason, &b.name) == (row.reason, &row.name);
            if let Some(before) = before.spent.iter().find(same) {
                let mut spent = Spent::from(row.cycles);
                let earlier = Spent::from(before.cycles);
                for (now, before) in spent.0.iter_mut().zip(earlier.0) {
                    *now = now.saturating_sub(before);
                }
                row.cycles = spent.into();
            }
        }
        for row in &mut self.trips {
            if let Some(before) = before.trips.iter().find(|b| b.is_same(row)) {
                row.trips = row.trips.saturating_sub(before.trips);
                row.cycles = row.cycles.saturating_sub(before.cycles);
            }
        }
        self.spent.retain(|row| row.cycles != Phases::default());
        self.trips.retain(|row| row.trips > 0);
    }
}
