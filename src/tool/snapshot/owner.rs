// SPDX-License-Identifier: GPL-2.0

//! Whose exits and whose time.

use super::id::Id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A vCPU.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct Vcpu {
    /// Its VM: `<pid>-<fd>`, as KVM's debugfs calls it.
    pub vm: Arc<str>,
    /// Its number in the VM.
    pub vcpu: u32,
    /// Tells vCPUs of the same name apart; none if the source does not say.
    pub id: Option<Id>,
}

/// Whose exits a counter counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// All exits that the source sees. They include those of the other owners.
    All,
    /// A vCPU.
    Vcpu(Vcpu),
    /// vCPUs that have ended.
    Ended,
    /// vCPUs without counters of their own.
    Unattributed,
    /// In a guest: reasons that it cannot see one by one.
    Hidden,
}
