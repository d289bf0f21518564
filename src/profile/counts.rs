// SPDX-License-Identifier: GPL-2.0

//! What is counted, and sums over it.

use super::reason::{Isa, Status};
use core::{
    fmt,
    ops::Add,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What was recorded of a set of VM exits.
///
/// Both numbers wrap at 2^64: differences of two readings are to be taken modulo
/// that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The number of exits.
    pub exits: u64,
    /// Cycles of the host's TSC that their handling took.
    pub cycles: u64,
}

impl Add for Sample {
    type Output = Sample;

    fn add(self, other: Sample) -> Sample {
        Sample {
            exits: self.exits.wrapping_add(other.exits),
            cycles: self.cycles.wrapping_add(other.cycles),
        }
    }
}

/// A sample that one CPU or task adds to, and any CPU reads.
#[derive(Debug, Default)]
#[repr(C, align(16))]
#[allow(missing_docs)] // As in `Sample`.
pub struct Counter {
    pub exits: AtomicU64,
    pub cycles: AtomicU64,
}

impl Counter {
    /// What it has come to.
    #[inline]
    pub fn load(&self) -> Sample {
        Sample {
            exits: self.exits.load(Relaxed),
            cycles: self.cycles.load(Relaxed),
        }
    }

    /// Makes it zero; nobody else writes it at present.
    pub fn clear(&self) {
        self.exits.store(0, Relaxed);
        self.cycles.store(0, Relaxed);
    }

    /// Adds to what nobody else writes at present.
    pub fn add(&self, more: Sample) {
        let Sample { exits, cycles } = self.load() + more;
        self.exits.store(exits, Relaxed);
        self.cycles.store(cycles, Relaxed);
    }
}

/// Exits by reason, wherever they are counted.
pub trait Profile {
    /// The instruction set that the reasons belong to.
    fn isa(&self) -> Isa;

    /// What is recorded in `slot`, which is below [`Isa::slots`].
    fn slot(&self, slot: usize) -> Sample;

    /// The sum over the slots that `wanted` chooses.
    fn sum(&self, wanted: impl Fn(usize) -> bool) -> Sample {
        (0..self.isa().slots())
            .filter(|&slot| wanted(slot))
            .fold(Sample::default(), |sum, slot| sum + self.slot(slot))
    }

    /// All exits.
    fn total(&self) -> Sample {
        self.sum(|_| true)
    }

    /// The exits of one reason as a guest sees them, `None` if it is undefined:
    /// those that KVM does not handle read as zero, whatever was counted.
    fn visible(&self, reason: u32) -> Option<Sample> {
        match self.isa().status(reason) {
            Status::Handled => Some(self.slot(self.isa().slot(reason))),
            Status::Unhandled => Some(Sample::default()),
            Status::Undefined => None,
        }
    }

    /// The exits that [`visible`] hides: [`total`] less the sum of those.
    ///
    /// [`total`]: Profile::total
    /// [`visible`]: Profile::visible
    fn hidden(&self) -> Sample {
        let isa = self.isa();
        // Made once, for a sum may be over many CPUs.
        let mut hidden = [true; Isa::MAX_SLOTS];
        for (slot, hidden) in hidden.iter_mut().enumerate() {
            *hidden = isa.reason(slot).map(|r| isa.status(r)) != Some(Status::Handled);
        }
        self.sum(|slot| hidden.get(slot) == Some(&true))
    }
}

/// Exits that several count: CPUs, or vCPUs. Such a profile is their sum, which is
/// made as it is asked for.
pub trait Summed {
    /// The instruction set that the reasons belong to.
    fn isa(&self) -> Isa;

    /// Calls `with` for the counters of each, by slot.
    fn each(&self, with: impl FnMut(&[Counter]));
}

impl<T: Summed + ?Sized> Profile for T {
    fn isa(&self) -> Isa {
        Summed::isa(self)
    }

    fn slot(&self, slot: usize) -> Sample {
        let mut sum = Sample::default();
        self.each(|counters| {
            if let Some(counter) = counters.get(slot) {
                sum = sum + counter.load();
            }
        });
        sum
    }

    fn sum(&self, wanted: impl Fn(usize) -> bool) -> Sample {
        let mut sum = Sample::default();
        self.each(|counters| {
            for (slot, counter) in counters.iter().enumerate() {
                if wanted(slot) {
                    sum = sum + counter.load();
                }
            }
        });
        sum
    }
}

/// A row of a table of exits, as the host's log and the tool print it.
pub struct Row<R, N, E, C>(pub R, pub N, pub E, pub C);

impl Row<&'static str, &'static str, &'static str, &'static str> {
    /// The head of the table.
    pub const HEAD: Self = Row("reason", "name", "exits", "cycles");
}

impl<R, N, E, C> fmt::Display for Row<R, N, E, C>
where
    R: fmt::Display,
    N: fmt::Display,
    E: fmt::Display,
    C: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row(reason, name, exits, cycles) = self;
        write!(f, "{reason:>6} {name:<25} {exits:>12} {cycles:>17}")
    }
}
