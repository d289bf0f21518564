// SPDX-License-Identifier: GPL-2.0
//! Evidence for a wrong count: who has counted what.

use crate::host::debugfs::ProfileFile;
use crate::vmm::{Vcpu, Vm};
use anyhow::Result;
use std::collections::BTreeMap;

/// KVM's own statistics that belong to one reason, and the sum of all.
const STATS: [&str; 5] = ["exits", "io_exits", "halt_exits", "hypercalls", "irq_exits"];

/// What the profiler and KVM have counted for a vCPU since its creation.
pub fn of_vcpu(vm: &Vm, vcpu: &Vcpu) -> Result<String> {
    let mut ours = BTreeMap::new();
    for line in ProfileFile::read()?.of_vcpu("vcpu", vm, vcpu.id()) {
        ours.insert(line.text("reason")?.to_owned(), line.number("exits")?);
    }
    let sum: u64 = ours.values().sum();
    let mut stats = Vec::new();
    for name in STATS {
        stats.push(format!("{name}={}", vcpu.stat(name)?.read()?));
    }
    let stats = stats.join(" ");
    Ok(format!(
        "the profiler counts {ours:?}, in all {sum}, and KVM {stats}"
    ))
}
