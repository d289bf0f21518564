// SPDX-License-Identifier: GPL-2.0

//! The exit reasons: which there are, what they are called, who handles them.

use super::{svm, vmx};
use core::{fmt, iter::successors};

/// How the architecture and KVM treat an exit reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// KVM has a handler for it: in `kvm_vmx_exit_handlers[]` (`vmx/vmx.c`) or
    /// `svm_exit_handlers[]` (`svm/svm.c`).
    Handled,
    /// It is defined, but KVM has no handler for it.
    Unhandled,
    /// It is not defined: for VMX by the SDM, for SVM by `uapi/asm/svm.h`.
    Undefined,
}

/// Consecutive exit reasons.
pub(super) struct Range {
    /// The number of the first.
    pub(super) first: u32,
    /// Their names and how they are treated; `None` is undefined.
    pub(super) reasons: &'static [Option<(&'static str, Status)>],
}

impl Range {
    const fn len(&self) -> u32 {
        self.reasons.len() as u32
    }
}

/// The instruction set whose exits are profiled; its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// Intel's VMX, whose reasons are the basic exit reasons.
    Vmx = 1,
    /// AMD's SVM, whose reasons are the exit codes.
    Svm = 2,
}

impl Isa {
    /// The instruction set with that number in the protocol.
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

    /// The number of counters that a profile needs: one for each number in the
    /// tables, defined or not, and a last one for all other numbers.
    pub const fn slots(self) -> usize {
        let mut slots = 1_usize;
        let mut rest = self.ranges();
        while let [range, others @ ..] = rest {
            slots = slots.wrapping_add(range.len() as usize);
            rest = others;
        }
        slots
    }

    /// The most slots that there are.
    pub const MAX_SLOTS: usize = {
        let (vmx, svm) = (Isa::Vmx.slots(), Isa::Svm.slots());
        if vmx > svm {
            vmx
        } else {
            svm
        }
    };

    /// The counter of `reason`, which may be any number: below [`slots`].
    ///
    /// [`slots`]: Isa::slots
    #[inline(always)]
    pub fn slot(self, reason: u32) -> usize {
        let mut slot = 0_u32;
        for range in self.ranges() {
            let index = reason.wrapping_sub(range.first).min(range.len());
            slot = slot.wrapping_add(index);
            if index < range.len() {
                break;
            }
        }
        slot as usize
    }

    /// The reason that `slot` counts; `None` for the one of all other numbers.
    pub fn reason(self, slot: usize) -> Option<u32> {
        let mut index = u32::try_from(slot).ok()?;
        for range in self.ranges() {
            if index < range.len() {
                return Some(range.first.wrapping_add(index));
            }
            index = index.wrapping_sub(range.len());
        }
        None
    }

    fn entry(self, reason: u32) -> Option<(&'static str, Status)> {
        self.ranges().iter().find_map(|range| {
            let index = reason.wrapping_sub(range.first) as usize;
            *range.reasons.get(index)?
        })
    }

    /// How `reason`, which may be any number, is treated.
    pub fn status(self, reason: u32) -> Status {
        self.entry(reason)
            .map_or(Status::Undefined, |(_, status)| status)
    }

    /// What `reason`, which may be any number, is called: prints as the
    /// kernel's name for it, or as `UNKNOWN(n)`.
    pub fn name(self, reason: u32) -> Name {
        Name(self.entry(reason).map(|(name, _)| name), reason)
    }

    /// `reason` as the instruction set's manuals print it, right-aligned: basic
    /// exit reasons in decimal, exit codes in hexadecimal.
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
