// SPDX-License-Identifier: GPL-2.0

//! The exit reasons of VMX and SVM: their names, their status, and the slots in which
//! they are counted.

use super::{
    reason::{status, Entry, Kernel, Range, Status},
    svm, vmx,
};
use core::{fmt, iter::successors};

/// The virtualization extension whose exits are counted, by its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[repr(u8)]
pub enum Isa {
    /// Intel's VMX. Reasons are basic exit reasons.
    Vmx = 1,
    /// AMD's SVM. Reasons are exit codes.
    Svm = 2,
}

impl Isa {
    /// The inverse of `as u8`.
    pub fn from_number(number: u8) -> Option<Isa> {
        [Isa::Vmx, Isa::Svm]
            .iter()
            .copied()
            .find(|&isa| isa as u8 == number)
    }

    const fn ranges(self) -> &'static [Range] {
        match self {
            Isa::Vmx => vmx::RANGES,
            Isa::Svm => svm::RANGES,
        }
    }

    /// The number of slots of a profile: one for each number in the tables, defined or
    /// not, and the last one for all other numbers.
    pub const fn slots(self) -> usize {
        let mut slots = 1_usize;
        let mut rest = self.ranges();
        while let [range, others @ ..] = rest {
            slots = slots.wrapping_add(range.len() as usize);
            rest = others;
        }
        slots
    }

    /// The number of slots that is enough for both.
    pub const MAX_SLOTS: usize = {
        let (vmx, svm) = (Isa::Vmx.slots(), Isa::Svm.slots());
        if vmx > svm {
            vmx
        } else {
            svm
        }
    };

    /// The slot of `reason`, which may be any number. It is less than
    /// [`slots()`](Isa::slots).
    pub fn slot(self, reason: u32) -> usize {
        self.own_slot(reason.into())
            .unwrap_or_else(|| self.other_slot())
    }

    /// The slot of `reason`; `None` if it shares the last one, or is no number of 32 bits.
    #[inline(always)]
    pub fn own_slot(self, reason: u64) -> Option<usize> {
        let mut before = 0_u32;
        for range in self.ranges() {
            if let Some(index) = range.index(reason) {
                return Some(before.wrapping_add(index) as usize);
            }
            before = before.wrapping_add(range.len());
        }
        None
    }

    /// The last slot, which all reasons without a slot of their own share.
    pub const fn other_slot(self) -> usize {
        self.slots().wrapping_sub(1)
    }

    /// The reason that `slot` counts; `None` for the last slot.
    pub fn reason(self, slot: usize) -> Option<u32> {
        let mut index = u32::try_from(slot).ok()?;
        for range in self.ranges() {
            if let Some(reason) = range.reason(index) {
                return Some(reason);
            }
            index = index.wrapping_sub(range.len());
        }
        None
    }

    /// Calls `f` for each slot whose reason `kernel` handles.
    pub fn each_handled_slot(self, kernel: Kernel, mut f: impl FnMut(usize)) {
        let mut slot = 0_usize;
        for range in self.ranges() {
            for entry in range.entries() {
                if status(*entry, kernel) == Status::Handled {
                    f(slot);
                }
                slot = slot.wrapping_add(1);
            }
        }
    }

    fn entry(self, reason: u32) -> Entry {
        self.ranges().iter().find_map(|range| range.entry(reason))
    }

    /// The status of `reason`, which may be any number, with `kernel`.
    pub fn status(self, kernel: Kernel, reason: u32) -> Status {
        status(self.entry(reason), kernel)
    }

    /// The name of `reason`, which may be any number: the kernel's name, or
    /// `UNKNOWN(n)`.
    pub fn name(self, reason: u32) -> Name {
        Name(self.entry(reason).map(|(name, _)| name), reason)
    }

    /// `reason` as the manuals print it, right-aligned: basic exit reasons in decimal,
    /// exit codes in hexadecimal.
    pub fn number(self, reason: u32) -> Number {
        Number(self, reason)
    }
}

/// An exit reason's number: see [`Isa::number`].
#[derive(Clone, Copy, Debug)]
pub struct Number(Isa, u32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, reason) = (f.width().unwrap_or(0), self.1);
        match self.0 {
            Isa::Vmx => write!(f, "{reason:>width$}"),
            Isa::Svm => write!(f, "{reason:>#width$x}"),
        }
    }
}

/// An exit reason's name: see [`Isa::name`].
#[derive(Clone, Copy, Debug)]
pub struct Name(Option<&'static str>, u32);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Name(Some(name), _) => f.pad(name),
            Name(None, reason) => {
                let digits = successors(Some(reason), |n| Some(n / 10).filter(|&n| n > 0)).count();
                let length = "UNKNOWN()".len().saturating_add(digits);
                let padding = f.width().unwrap_or(0).saturating_sub(length);
                write!(f, "UNKNOWN({reason}){:padding$}", "")
            }
        }
    }
}
