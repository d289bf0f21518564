// SPDX-License-Identifier: GPL-2.0

//! Whether a snapshot continues an earlier one.

use crate::snapshot::{Origin, Snapshot};
use schemars::JsonSchema;
use serde::Serialize;
use std::{error::Error, fmt};

/// Why a snapshot does not continue an earlier one, so that they cannot be subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// They are the same.
    Same,
    /// One of them, or each, was counted in a period of its own.
    Period,
    /// They were read in different places, or have different scopes.
    #[serde(rename = "source")]
    Origin,
    /// They are of two hosts, or of two loads of the module.
    Host,
    /// They were counted by BPF in two runs of exitprof.
    Bpf,
    /// They are of two VMs, or of two loads of the module.
    Vm,
    /// They are of two vCPUs, or of two loads of the module.
    Vcpu,
    /// The counters started from zero.
    Zero,
    /// A counter is lower, for an unknown reason.
    Fell,
}

/// What messages say ahead of a [`Break`].
pub const REPLACED: &str = "the counters are not the same as before";

/// Says that counters were replaced, and that nothing can be subtracted.
pub fn unknown(why: Break) -> String {
    format!("{REPLACED} ({why}): it is unknown what was counted in between")
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Break::Period => "one was counted in a period of its own",
            Break::Same => "it is the same recording",
            Break::Origin => "the source or the scope differs",
            Break::Host => "the host differs, or its module was reloaded",
            Break::Bpf => "each run of exitprof counts for itself by BPF",
            Break::Vm => "the VM differs, or the host's module was reloaded",
            Break::Vcpu => "the vCPU differs, or the host's module was reloaded",
            Break::Zero => "the counters started from zero",
            Break::Fell => "a counter is lower than before",
        })
    }
}

impl Error for Break {}

impl Snapshot {
    /// Checks that this snapshot and `earlier` say that they are of the same counters.
    /// Without identities, that may be wrong.
    pub(crate) fn check_same_count(&self, earlier: &Snapshot) -> Result<(), Break> {
        if self.period.is_some() || earlier.period.is_some() {
            return Err(Break::Period);
        }
        if self.origin != earlier.origin || self.isa != earlier.isa {
            return Err(Break::Origin);
        }
        let identities = self.identity.zip(earlier.identity);
        if identities.is_some_and(|(now, before)| now != before) {
            return Err(match self.origin {
                Origin::Host | Origin::GuestOfHost => Break::Host,
                Origin::Bpf => Break::Bpf,
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

    /// Whether the times of this snapshot and of `earlier`, of the same counters, are by the
    /// same clock. A guest's clock starts over when the guest boots.
    pub(crate) fn has_clock_of(&self, earlier: &Snapshot) -> bool {
        self.origin.is_host() || (self.boot.is_some() && self.boot == earlier.boot)
    }

    /// The start of its counters, if they are known to have started after `before`.
    pub(crate) fn started_after(&self, before: &Snapshot) -> Option<Snapshot> {
        let is_host = [self, before].iter().all(|s| s.origin.is_host());
        let start = self
            .since_ns
            .filter(|&since| is_host && since >= before.time_ns)?;
        Some(Snapshot {
            time_ns: start,
            ..self.with(Vec::new())
        })
    }
}
