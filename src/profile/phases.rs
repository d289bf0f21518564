// SPDX-License-Identifier: GPL-2.0

//! What a vCPU's time goes to, apart from running the guest.

use super::cells::increase;
use core::{
    ops::Add,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A part of a vCPU's time. It belongs to the reason of the VM exit that led there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Phase {
    /// From the exit to the handler. The host serves interrupts here.
    ExitPath = 0,
    /// In KVM's `handle_exit()`.
    Handler = 1,
    /// From the handler to the next entry, and to and from userspace.
    RunLoop = 2,
    /// In userspace: from the return of KVM_RUN to the next KVM_RUN.
    Userspace = 3,
    /// Halted, while the vCPU's task polls for a wakeup.
    Polling = 4,
    /// Halted, while the vCPU's task sleeps.
    Halted = 5,
    /// Switched out in KVM, though the vCPU's task could run.
    Preempted = 6,
    /// Switched out in KVM, because the vCPU's task waits, for example for memory.
    Sleeping = 7,
}

/// The number of phases.
pub const PHASES: usize = 8;

impl Phase {
    /// All phases, by number.
    pub const ALL: [Phase; PHASES] = [
        Phase::ExitPath,
        Phase::Handler,
        Phase::RunLoop,
        Phase::Userspace,
        Phase::Polling,
        Phase::Halted,
        Phase::Preempted,
        Phase::Sleeping,
    ];

    /// Its key in the text of profiles.
    pub fn key(self) -> &'static str {
        match self {
            Phase::ExitPath => "exit_path",
            Phase::Handler => "handler",
            Phase::RunLoop => "run_loop",
            Phase::Userspace => "userspace",
            Phase::Polling => "polling",
            Phase::Halted => "halted",
            Phase::Preempted => "preempted",
            Phase::Sleeping => "sleeping",
        }
    }
}

/// Cycles of the host's TSC by [`Phase`], modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent(pub [u64; PHASES]);

impl Spent {
    /// No time.
    pub const NONE: Spent = Spent([0; PHASES]);

    /// The cycles of all phases.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, more| sum.wrapping_add(*more))
    }

    /// The cycles of `phase`.
    pub fn of(&self, phase: Phase) -> u64 {
        self.0.get(phase as usize).copied().unwrap_or(0)
    }

    /// Adds to `phase`.
    pub fn spend(&mut self, phase: Phase, cycles: u64) {
        if let Some(sum) = self.0.get_mut(phase as usize) {
            *sum = sum.wrapping_add(cycles);
        }
    }
}

impl Add for Spent {
    type Output = Spent;

    fn add(mut self, other: Spent) -> Spent {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(more);
        }
        self
    }
}

/// Cycles of the host's TSC in the guest and in each phase, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Totals {
    pub guest: u64,
    pub spent: Spent,
}

impl Totals {
    /// The cycles that leaf [`PHASE`](super::leaf::PHASE) answers for a subleaf: 0 is the
    /// guest, and 1 and up are the phases. `None` for all others.
    pub fn cycles(&self, subleaf: u32) -> Option<u64> {
        match subleaf.checked_sub(1) {
            None => Some(self.guest),
            Some(phase) => self.spent.0.get(phase as usize).copied(),
        }
    }
}

impl Add for Totals {
    type Output = Totals;

    fn add(self, other: Totals) -> Totals {
        Totals {
            guest: self.guest.wrapping_add(other.guest),
            spent: self.spent + other.spent,
        }
    }
}

/// The counters of a reason's [`Spent`], in a cache line.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct SpentCell(pub [AtomicU64; PHASES]);

impl SpentCell {
    /// The cycles as they are now.
    pub fn load(&self) -> Spent {
        let mut spent = Spent::NONE;
        for (to, from) in spent.0.iter_mut().zip(&self.0) {
            *to = from.load(Relaxed);
        }
        spent
    }

    /// Adds to `phase`. Nobody else may add meanwhile.
    #[inline(always)]
    pub fn spend(&self, phase: Phase, cycles: u64) {
        if let Some(cell) = self.0.get(phase as usize) {
            increase(cell, cycles);
        }
    }

    /// Sets all to zero. Nobody may add meanwhile.
    pub fn clear(&self) {
        self.0.iter().for_each(|cell| cell.store(0, Relaxed));
    }
}
