// SPDX-License-Identifier: GPL-2.0

//! What the tables of exit reasons are made of.

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

/// The name of a reason, and how it is treated; `None` if it is undefined.
pub(super) type Entry = Option<(&'static str, Status)>;

/// Consecutive exit reasons.
pub(super) struct Range {
    first: u32,
    entries: &'static [Entry],
}

impl Range {
    /// The reasons from `first` on.
    pub(super) const fn new(first: u32, entries: &'static [Entry]) -> Range {
        Range { first, entries }
    }

    /// The `N` reasons from `first` on, of which `defined` lists those that are
    /// defined. A number that is out of place does not compile.
    pub(super) const fn dense<const N: usize>(
        first: u32,
        defined: &[(u32, &'static str, Status)],
    ) -> [Entry; N] {
        let mut entries = [None; N];
        let mut rest = defined;
        while let [(number, name, status), others @ ..] = rest {
            entries[(*number - first) as usize] = Some((*name, *status));
            rest = others;
        }
        entries
    }

    /// How many reasons there are.
    pub(super) const fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// How many there are before `reason`, which may be any number, if it is one of
    /// these.
    #[inline(always)]
    pub(super) fn index(&self, reason: u32) -> Option<u32> {
        let index = reason.wrapping_sub(self.first);
        (index < self.len()).then_some(index)
    }

    /// The reason with that index.
    pub(super) fn reason(&self, index: u32) -> Option<u32> {
        (index < self.len()).then(|| self.first.wrapping_add(index))
    }

    /// The entry of `reason`, which may be any number.
    pub(super) fn entry(&self, reason: u32) -> Entry {
        *self.entries.get(self.index(reason)? as usize)?
    }

    /// The entries, in order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().copied()
    }
}
