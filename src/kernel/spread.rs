// SPDX-License-Identifier: GPL-2.0

//! Profiles that are sums of counters in several places.

use crate::profile::{
    cells::{Cells, Counter},
    counts::{Profile, Tally},
};
use core::{mem, sync::atomic::AtomicU64};

/// The size of a slot's counters in bytes.
pub(crate) const SLOT_SIZE: usize = mem::size_of::<Counter>() + mem::size_of::<AtomicU64>();

/// The slots that are read in each place.
#[derive(Clone, Copy)]
pub(crate) enum Read {
    One,
    All,
}

/// Counters in several places, such as CPUs or vCPUs, whose sum is a [`Profile`].
pub(crate) trait Spread {
    /// Calls `with` for the counters in each place. `with` reads the slots that `read` says.
    fn each(&self, read: Read, with: impl FnMut(Cells<'_>));
}

impl<T: Spread> Profile for T {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        add_up(self, Read::All, |cells| cells.sum(wanted))
    }

    fn total(&self) -> Tally {
        add_up(self, Read::All, |cells| cells.total())
    }

    fn slot(&self, slot: usize) -> Tally {
        add_up(self, Read::One, |cells| cells.slot(slot))
    }
}

fn add_up(spread: &impl Spread, read: Read, tally: impl Fn(Cells<'_>) -> Tally) -> Tally {
    let mut sum = Tally::default();
    spread.each(read, |cells| sum = sum + tally(cells));
    sum
}
