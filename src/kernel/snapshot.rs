// SPDX-License-Identifier: GPL-2.0

//! The snapshot of counters that a vCPU holds for its guest.

use crate::{
    block::Owned,
    profile::{
        leaf::{Identity, Scope, SnapshotState},
        phases::Totals,
    },
};
use core::cell::UnsafeCell;

/// A snapshot.
pub(crate) struct Held {
    /// The scope and the identity of the counters. When the scope or the epoch changes,
    /// the snapshot is void.
    pub(crate) scope: Scope,
    pub(crate) identity: Identity,
    pub(crate) block: Owned<()>,
    /// `None` if phases were not recorded.
    pub(crate) phases: Option<Totals>,
}

/// A place for a vCPU's snapshot. Protected by KVM's vcpu->mutex, which the vCPU's task
/// holds.
#[derive(Default)]
pub(crate) struct Snapshots(UnsafeCell<Inner>);

#[derive(Default)]
struct Inner {
    held: Option<Held>,
    taken: u32,
}

impl Snapshots {
    /// The snapshot, if it has this scope and epoch, and the answer of leaf E0.
    ///
    /// # Safety
    ///
    /// The caller holds vcpu->mutex. The returned reference does not outlive the next
    /// call of [`set`](Snapshots::set).
    pub(crate) unsafe fn get(&self, scope: Scope, epoch: u32) -> (Option<&Held>, SnapshotState) {
        // SAFETY: The caller holds vcpu->mutex, so nobody writes it.
        let Inner { held, taken } = unsafe { &*self.0.get() };
        let valid = |held: &&Held| held.scope == scope && held.identity.epoch == epoch;
        let held = held.as_ref().filter(valid);
        let snapshot = SnapshotState {
            held: held.is_some(),
            taken: *taken,
        };
        (held, snapshot)
    }

    /// Replaces the snapshot.
    ///
    /// # Safety
    ///
    /// The caller holds vcpu->mutex. References from [`get`](Snapshots::get) are gone.
    pub(crate) unsafe fn set(&self, held: Option<Held>) {
        // SAFETY: The caller holds vcpu->mutex, and nobody has a reference to the
        // snapshot.
        let inner = unsafe { &mut *self.0.get() };
        inner.taken = inner.taken.wrapping_add(held.is_some().into());
        inner.held = held;
    }
}
