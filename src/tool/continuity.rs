// SPDX-License-Identifier: GPL-2.0

//! Whether a snapshot goes on counting from an earlier one.

use crate::snapshot::{Origin, Snapshot};
use serde::Serialize;
use std::{error::Error, fmt};

/// Why a snapshot does not go on from an earlier one: they cannot be subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// One was read elsewhere, or is of another scope.
    #[serde(rename = "source")]
    Origin,
    /// They are of two hosts, or of two loadings of the module.
    Host,
    /// They are of two VMs, or of two loadings of the module.
    Vm,
    /// They are of two vCPUs, or of two loadings of the module.
    Vcpu,
    /// The counters have started from zero.
    Zero,
    /// A counter is lower, for whatever reason.
    Fell,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Break::Origin => "the place or the scope is another",
            Break::Host => "the host is another, or its module was loaded again",
            Break::Vm => "the VM is another, or the host's module was loaded again",
            Break::Vcpu => "the vCPU is another, or the host's module was loaded again",
            Break::Zero => "the counters started from zero",
            Break::Fell => "a counter is lower than before",
        })
    }
}

impl Error for Break {}

impl Snapshot {
    /// Checks that this one and `earlier` say that they are of the same counters. One that
    /// tells no identity may be wrong.
    pub(crate) fn check_same_count(&self, earlier: &Snapshot) -> Result<(), Break> {
        if self.origin != earlier.origin || self.isa != earlier.isa {
            return Err(Break::Origin);
        }
        let identities = self.identity.zip(earlier.identity);
        if identities.is_some_and(|(now, before)| now != before) {
            return Err(match self.origin {
                Origin::Host | Origin::GuestOfHost => Break::Host,
                Origin::GuestOfVm => Break::Vm,
                Origin::GuestOfVcpu => Break::Vcpu,
            });
        }
        let other_start = identities.is_none() && self.since_ns != earlier.since_ns;
        if self.epoch != earlier.epoch || other_start {
            return Err(Break::Zero);
        }
        Ok(())
    }

    /// Whether the times of this one and of `earlier`, which are of the same counters,
    /// are of one clock. That of a guest starts anew with the guest.
    pub(crate) fn has_clock_of(&self, earlier: &Snapshot) -> bool {
        self.origin == Origin::Host || (self.boot.is_some() && self.boot == earlier.boot)
    }
}
