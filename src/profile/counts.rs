// SPDX-License-Identifier: GPL-2.0

//! What is counted, and sums over it.

use super::{isa::Isa, reason::Status};
use core::ops::Add;

/// What was counted of a set of VM exits.
///
/// All numbers wrap at 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of exits.
    pub exits: u64,
    /// Cycles of the host's TSC that their handling took, as far as it was timed.
    pub cycles: u64,
    /// How many of the exits were not timed: KVM re-entered the guest without
    /// handling them, or the handler ended on a CPU whose TSC is behind.
    pub untimed: u64,
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            exits: self.exits.wrapping_add(other.exits),
            cycles: self.cycles.wrapping_add(other.cycles),
            untimed: self.untimed.wrapping_add(other.untimed),
        }
    }
}

/// Exits by reason, wherever they are counted.
pub trait Profile {
    /// The sum over the slots that `wanted` chooses; below [`Isa::slots`].
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally;

    /// What is counted in `slot`.
    fn slot(&self, slot: usize) -> Tally {
        self.sum(&|other| other == slot)
    }

    /// All exits.
    fn total(&self) -> Tally {
        self.sum(&|_| true)
    }

    /// The exits of one reason as a guest sees them, `None` if it is undefined:
    /// those that KVM does not handle read as zero, whatever was counted.
    fn visible(&self, isa: Isa, reason: u32) -> Option<Tally> {
        match isa.status(reason) {
            Status::Handled => Some(self.slot(isa.slot(reason))),
            Status::Unhandled => Some(Tally::default()),
            Status::Undefined => None,
        }
    }

    /// The exits that [`visible`] hides: [`total`] less the sum of those.
    ///
    /// [`total`]: Profile::total
    /// [`visible`]: Profile::visible
    fn hidden(&self, isa: Isa) -> Tally {
        // Found out once, for a sum may be over many CPUs.
        let mut hidden = [false; Isa::MAX_SLOTS];
        for slot in isa.unhandled_slots() {
            if let Some(hidden) = hidden.get_mut(slot) {
                *hidden = true;
            }
        }
        self.sum(&|slot| hidden.get(slot) == Some(&true))
    }
}
