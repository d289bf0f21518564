// SPDX-License-Identifier: GPL-2.0
//! What the profiler counts, and how answers encode it.

use super::leaf;
use crate::vmm::Regs;
use anyhow::Result;

/// Which exits a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    All,
    /// Those of reasons that leaves FE and FF do not show.
    Hidden,
    Of(u32),
}

/// Exits, cycles and, of one reason, untimed exits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub exits: u64,
    pub cycles: u64,
    pub untimed: u64,
}

impl Counts {
    /// Whether no number exceeds that in `later`.
    pub fn is_before(self, later: Self) -> bool {
        self.exits <= later.exits && self.cycles <= later.cycles && self.untimed <= later.untimed
    }

    pub fn max(self, other: Self) -> Self {
        Self {
            exits: self.exits.max(other.exits),
            cycles: self.cycles.max(other.cycles),
            untimed: self.untimed.max(other.untimed),
        }
    }
}

/// Which of the counts an answer holds.
#[derive(Clone, Copy)]
pub enum Figure {
    Exits,
    Cycles,
    ExitsAndCycles,
    Untimed,
}

impl Figure {
    /// The counts with all others set to 0.
    pub fn of(self, all: Counts) -> Counts {
        let nothing = Counts::default();
        let Counts {
            exits,
            cycles,
            untimed,
        } = all;
        match self {
            Self::Exits => Counts { exits, ..nothing },
            Self::Cycles => Counts { cycles, ..nothing },
            Self::Untimed => Counts { untimed, ..nothing },
            Self::ExitsAndCycles => Counts { untimed: 0, ..all },
        }
    }

    /// Encodes an answer.
    pub fn encode(self, of: Counts) -> Regs {
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        let (exits, cycles, untimed) = (halves(of.exits), halves(of.cycles), halves(of.untimed));
        match self {
            Self::Exits => [exits.0, exits.1, 0, 0],
            Self::Cycles => [0, cycles.1, cycles.0, 0],
            Self::Untimed => [untimed.0, untimed.1, 0, 0],
            Self::ExitsAndCycles => [exits.0, exits.1, cycles.0, cycles.1],
        }
    }

    /// Decodes an answer.
    pub fn decode(self, got: Regs) -> Result<Counts> {
        let mut counts = Counts::default();
        match self {
            Self::Exits => counts.exits = leaf::exits(got)?,
            Self::Cycles => counts.cycles = leaf::cycles(got)?,
            Self::Untimed => counts.untimed = leaf::exits(got)?,
            Self::ExitsAndCycles => (counts.exits, counts.cycles) = leaf::hidden(got),
        }
        Ok(counts)
    }
}
