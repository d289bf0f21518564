// SPDX-License-Identifier: GPL-2.0

//! Tallies of exits, and sums over them.

use super::{
    isa::Isa,
    reason::{Kernel, Status},
};
use core::ops::Add;

/// The counts of a set of VM exits. All numbers wrap at 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The number of exits.
    pub exits: u64,
    /// The cycles of the host's TSC that the handling of timed exits took.
    pub cycles: u64,
    /// The number of exits that were not timed: KVM's fastpath re-entered the guest, or
    /// the handler ended on a CPU whose TSC is behind.
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

/// Exits by reason, wherever their counters are.
pub trait Profile {
    /// The sum over the slots for which `wanted` returns true. Slots are less than
    /// [`Isa::slots`].
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally;

    /// The tally of `slot`.
    fn slot(&self, slot: usize) -> Tally {
        self.sum(&|other| other == slot)
    }

    /// The tally of all exits.
    fn total(&self) -> Tally {
        self.sum(&|_| true)
    }

    /// The tally of `reason` as a guest sees it. A reason that `kernel` does not handle
    /// reads zero, whatever was counted. `None` if the reason is undefined.
    fn visible(&self, isa: Isa, kernel: Kernel, reason: u32) -> Option<Tally> {
        match isa.status(kernel, reason) {
            Status::Handled => Some(self.slot(isa.slot(reason))),
            Status::Unhandled => Some(Tally::default()),
            Status::Undefined => None,
        }
    }

    /// The exits that [`visible`] hides: [`total`] minus the sum of [`visible`] over all
    /// reasons.
    ///
    /// [`total`]: Profile::total
    /// [`visible`]: Profile::visible
    fn hidden(&self, isa: Isa, kernel: Kernel) -> Tally {
        // Computed once: the sum may be over many CPUs.
        let mut handled = [false; Isa::MAX_SLOTS];
        isa.each_handled_slot(kernel, |slot| {
            if let Some(handled) = handled.get_mut(slot) {
                *handled = true;
            }
        });
        self.sum(&|slot| handled.get(slot) == Some(&false))
    }
}
