// SPDX-License-Identifier: GPL-2.0
//! The KVM for most of these tests.

use crate::host::Host;
use crate::oracle::Oracle;
use crate::vmm::cpu::pick;
use anyhow::Result;

/// Loads KVM without shadow VMCS and virtual global interrupt flag, so that all of a
/// hypervisor's instructions exit.
pub fn without_shortcuts(host: &mut Host) -> Result<Oracle> {
    host.reload_vendor(true, pick("enable_shadow_vmcs=0", "vgif=0 vls=0"))?;
    Oracle::since_now(&[])
}
