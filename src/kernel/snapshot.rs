// SPDX-License-Identifier: GPL-2.0

//! The snapshot of counters that a vCPU holds for its guest.

use crate::{
    block::Owned,
    profile::leaf::{Identity, Scope, Snapshot},
};
use core::cell::UnsafeCell;

/// What a guest has read at one time.
pub(crate) struct Held {
    /// Whose exits these are, and of which epoch: void if either is another now.
    pub(crate) scope: Scope,
    pub(crate) identity: Identity,
    pub(crate) block: Owned<()>,
}

/// A vCPU's snapshot, for who holds KVM's vcpu->mutex, as the vCPU's task does.
#[derive(Default)]
pub(crate) struct Snapshots(UnsafeCell<Inner>);

#[derive(Default)]
struct Inner {
    held: Option<Held>,
    taken: u32,
}

impl Snapshots {
    /// The snapshot that is held, if it is of that scope and epoch.
    ///
    /// # Safety
    ///
    /// Called under vcpu->mutex; what is returned is gone before the next call of
    /// [`set`](Snapshots::set).
    pub(crate) unsafe fn get(&self, scope: Scope, epoch: u32) -> (Option<&Held>, Snapshot) {
        // SAFETY: One task at a time comes here, by this function's contract.
        let Inner { held, taken } = unsafe { &*self.0.get() };
        let valid = |held: &&Held| held.scope == scope && held.identity.epoch == epoch;
        let held = held.as_ref().filter(valid);
        let snapshot = Snapshot {
            held: held.is_some(),
            taken: *taken,
        };
        (held, snapshot)
    }

    /// Holds another, or none.
    ///
    /// # Safety
    ///
    /// As for [`get`](Snapshots::get).
    pub(crate) unsafe fn set(&self, held: Option<Held>) {
        // SAFETY: As in `get()`.
        let inner = unsafe { &mut *self.0.get() };
        inner.taken = inner.taken.wrapping_add(held.is_some().into());
        inner.held = held;
    }
}
