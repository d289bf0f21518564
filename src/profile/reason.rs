// SPDX-License-Identifier: GPL-2.0

//! The entries of the tables of exit reasons.

/// How the architecture and KVM treat an exit reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// KVM has a handler for it: in `kvm_vmx_exit_handlers[]` (`vmx/vmx.c`) or
    /// `svm_exit_handlers[]` (`svm/svm.c`).
    Handled,
    /// The architecture defines it, but KVM has no handler for it.
    Unhandled,
    /// Neither the SDM (for VMX) nor `uapi/asm/svm.h` (for SVM) defines it.
    Undefined,
}

/// The kernel that a profile comes from, as far as KVM's handlers differ; its number in
/// the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kernel {
    /// Linux 6.1 to 6.12.
    V6_1 = 0,
    /// Linux 7.3.
    V7_3 = 1,
}

impl Kernel {
    /// The newest one.
    pub const NEWEST: Kernel = Kernel::V7_3;

    /// The inverse of `as u8`. Unknown numbers are of later kernels: the newest one.
    pub fn from_number(number: u8) -> Kernel {
        match number {
            0 => Kernel::V6_1,
            _ => Kernel::NEWEST,
        }
    }
}

/// Which kernels' KVM has a handler for a reason.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handler {
    /// All of them.
    Handled,
    /// None of them.
    Unhandled,
    /// This one and later ones.
    Since(Kernel),
}

impl Handler {
    /// The status of a defined reason with this handler.
    fn status(self, kernel: Kernel) -> Status {
        match self {
            Handler::Handled => Status::Handled,
            Handler::Since(first) if kernel >= first => Status::Handled,
            Handler::Unhandled | Handler::Since(_) => Status::Unhandled,
        }
    }
}

/// The name and the handler of a reason; `None` if it is undefined.
pub(super) type Entry = Option<(&'static str, Handler)>;

/// The status of the reason with this entry.
pub(super) fn status(entry: Entry, kernel: Kernel) -> Status {
    entry.map_or(Status::Undefined, |(_, handler)| handler.status(kernel))
}

/// Exit reasons with consecutive numbers.
pub(super) struct Range {
    first: u32,
    entries: &'static [Entry],
}

impl Range {
    /// The reasons from `first` on.
    pub(super) const fn new(first: u32, entries: &'static [Entry]) -> Range {
        Range { first, entries }
    }

    /// The entries of the `N` reasons from `first` on. `defined` lists those that are
    /// defined. A number outside of the range does not compile.
    pub(super) const fn dense<const N: usize>(
        first: u32,
        defined: &[(u32, &'static str, Handler)],
    ) -> [Entry; N] {
        let mut entries = [None; N];
        let mut rest = defined;
        while let [(number, name, handler), others @ ..] = rest {
            entries[(*number - first) as usize] = Some((*name, *handler));
            rest = others;
        }
        entries
    }

    /// The number of reasons.
    pub(super) const fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// The index of `reason`, which may be any number; `None` if it is not in the range.
    #[inline(always)]
    pub(super) fn index(&self, reason: u64) -> Option<u32> {
        let index = reason.wrapping_sub(self.first as u64);
        (index < self.len() as u64).then_some(index as u32)
    }

    /// The reason at `index`.
    pub(super) fn reason(&self, index: u32) -> Option<u32> {
        (index < self.len()).then(|| self.first.wrapping_add(index))
    }

    /// The entry of `reason`, which may be any number.
    pub(super) fn entry(&self, reason: u32) -> Entry {
        *self.entries.get(self.index(reason.into())? as usize)?
    }

    /// The entries, in order.
    pub(super) fn entries(&self) -> &'static [Entry] {
        self.entries
    }
}
