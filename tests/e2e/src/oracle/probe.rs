// SPDX-License-Identifier: GPL-2.0
//! What workloads cause without a profiler.

use super::catalog::CATALOG;
use super::workload::Workload;
use crate::harness::Ktap;
use crate::host::{Host, State, Tracepoint};
use anyhow::{Context, Result};

/// Notes for each workload how many exits it causes by KVM's own statistic, and how
/// many of its reason by the tracepoint.
pub fn run(host: &mut Host, ktap: &mut Ktap) {
    for workload in CATALOG {
        let text = probe(workload, host).unwrap_or_else(|e| {
            host.forget();
            format!("{e:#}")
        });
        ktap.note(&format!("{}: {text}", workload.name));
    }
}

fn probe(workload: &Workload, host: &mut Host) -> Result<String> {
    let reason = workload.reason().context("no such exit here")?;
    host.reach(State::Unpatched)?;
    workload.load(host, false)?;
    workload.check_needs()?;
    let mut vm = workload.prepare()?;
    let (traced, before) = (Tracepoint::of(reason)?, vm.exits()?);
    vm.run(&workload.program())?;
    let (exits, traced) = (vm.exits()? - before, traced.read()?);
    Ok(format!(
        "{exits} exits, kvm_exit: {traced} of reason {reason}"
    ))
}
