// SPDX-License-Identifier: GPL-2.0
//! Where a vCPU's time went.

use crate::host::debugfs::{Line, ProfileFile};
use crate::vmm::Vm;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// The keys of the phases.
pub const PHASES: [&str; 8] = [
    "exit_path",
    "handler",
    "run_loop",
    "userspace",
    "polling",
    "halted",
    "preempted",
    "sleeping",
];

/// The cycles of a vCPU.
#[derive(Clone, Debug)]
pub struct Budget {
    pub since: u64,
    pub until: u64,
    pub guest: u64,
    /// By reason and phase.
    pub spent: BTreeMap<(String, &'static str), u64>,
}

impl Budget {
    /// That of a vCPU, which must not be running.
    pub fn of(file: &ProfileFile, vm: &Vm, id: u32) -> Result<Self> {
        let mut clocks = file.of_vcpu("vcpu_clock", vm, id);
        let clock = clocks.next().context("the vCPU has no clock")?;
        ensure!(clocks.next().is_none(), "the vCPU has two clocks");
        Self::new(clock, file.of_vcpu("vcpu_phases", vm, id))
    }

    /// That of all vCPUs that have ended.
    pub fn of_ended(file: &ProfileFile) -> Result<Self> {
        let clock = file.of("ended_clock").next().context("nothing has ended")?;
        Self::new(clock, file.of("ended_phases"))
    }

    fn new<'a>(clock: &Line, phases: impl Iterator<Item = &'a Line>) -> Result<Self> {
        let mut spent = BTreeMap::new();
        for line in phases {
            for phase in PHASES {
                let cycles = line.number(phase)?;
                let old = spent.insert((line.text("reason")?.to_owned(), phase), cycles);
                ensure!(old.is_none(), "{line:?} twice");
            }
        }
        Ok(Self {
            since: clock.number("since")?,
            until: clock.number("until")?,
            guest: clock.number("guest")?,
            spent,
        })
    }

    /// Checks that the phases and the guest add up to the time that passed. A negative one
    /// would be a giant number here.
    pub fn check_sum(&self) -> Result<()> {
        let all = self.spent.values().chain([&self.guest]);
        let sum = all.map(|&cycles| u128::from(cycles)).sum::<u128>();
        let passed = u128::from(self.until - self.since);
        ensure!(
            sum == passed,
            "the phases add up to {sum}, and {passed} passed: {self:?}"
        );
        Ok(())
    }

    /// The cycles of a phase, after exits of a reason.
    pub fn after(&self, reason: u32, phase: &'static str) -> u64 {
        let key = (reason.to_string(), phase);
        self.spent.get(&key).copied().unwrap_or(0)
    }

    /// The cycles of a phase.
    pub fn all(&self, phase: &str) -> u64 {
        let of_phase = self.spent.iter().filter(|((_, other), _)| *other == phase);
        of_phase.map(|(_, cycles)| cycles).sum()
    }
}
