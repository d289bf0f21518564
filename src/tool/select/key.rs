// SPDX-License-Identifier: GPL-2.0

//! What identifies a row.

use crate::snapshot::{
    detail::{Detail, Place},
    id::Id,
};
use std::{cmp::Ordering, sync::Arc};

/// What a row by details or code is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum What {
    /// A detail.
    Detail(Detail),
    /// A place in the guest's code.
    Place(Place),
    /// All exits that are in no other row.
    Others,
}

/// What identifies a row. Rows that are otherwise equal are sorted by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The VM, if the row is of one.
    pub vm: Option<Arc<str>>,
    /// The vCPU, if the row is of one.
    pub vcpu: Option<u32>,
    /// Tells vCPUs of the same name apart, if the source has identities.
    pub id: Option<Id>,
    /// The owner, if the row is of one and a reason; or the first of two other things that it is
    /// of.
    pub owner: Option<Arc<str>>,
    /// The reason, if the row is of one with a number.
    pub reason: Option<u32>,
    /// The detail or place, if the row is of one.
    pub what: Option<What>,
    /// The name.
    pub name: Arc<str>,
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        // By number: 9-3 is before 10-3.
        let parts = |key: &Key| {
            let number = |text: &str| text.parse::<u64>().ok();
            let parts = key
                .vm
                .as_deref()
                .map(|vm| vm.split_once('-').unwrap_or((vm, "")));
            parts.map(|(pid, fd)| (number(pid), number(fd)))
        };
        let vcpu = |key: &Key| (key.vcpu, key.id);
        (parts(self).cmp(&parts(other)))
            .then_with(|| self.vm.cmp(&other.vm))
            .then_with(|| vcpu(self).cmp(&vcpu(other)))
            .then_with(|| self.owner.cmp(&other.owner))
            .then_with(|| self.reason.cmp(&other.reason))
            .then_with(|| self.what.cmp(&other.what))
            .then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// A key that is only a name.
    pub fn named(name: impl Into<Arc<str>>) -> Key {
        Key {
            vm: None,
            vcpu: None,
            id: None,
            owner: None,
            reason: None,
            what: None,
            name: name.into(),
        }
    }

    /// The key of this reason's row of an owner.
    pub(super) fn owned_by(self, owner: &Key) -> Key {
        Key {
            vm: owner.vm.clone(),
            vcpu: owner.vcpu,
            id: owner.id,
            owner: Some(Arc::clone(&owner.name)),
            ..self
        }
    }
}
