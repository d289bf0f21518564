// SPDX-License-Identifier: GPL-2.0
//! What an exit costs, by benchmark and setup.

use super::benchmark::{BATCH, BENCHMARKS, Benchmark, Cost, ROUNDS};
use super::setup::{SETUPS, possible};
use crate::harness::Ktap;
use crate::host::Host;
use anyhow::{Context, Result, ensure};

/// Measures all setups, or those in `names`, and prints lines for programs:
/// `cost BENCHMARK SETUP MEAN LEAST`.
pub fn run(host: &mut Host, ktap: &mut Ktap, names: &[String]) -> Result<()> {
    let chosen = |setup: &str| names.is_empty() || names.iter().any(|n| n == setup);
    for (setup, set_up) in SETUPS.into_iter().filter(|(setup, _)| chosen(setup)) {
        if !possible(setup) {
            ktap.note(&format!("{setup}: left out, because it needs VMX"));
            continue;
        }
        let peer = set_up(host).with_context(|| setup.to_owned())?;
        for benchmark in &BENCHMARKS {
            let name = benchmark.name;
            let Cost { mean, least } = benchmark.measure().context(name)?;
            ktap.line(&format!("cost {name} {setup} {mean:.2} {least:.2}"));
        }
        if let Some(peer) = peer {
            let due = |b: &Benchmark| u64::from(ROUNDS * b.batches * BATCH) * peer.records_of(b.op);
            let due: u64 = BENCHMARKS.iter().map(due).sum();
            let recorded = peer.finish().context(setup)?;
            ktap.note(&format!("{setup}: {recorded} records, at least {due} due"));
            ensure!(recorded >= due, "{setup} recorded too little");
        }
    }
    host.unload_all()
}
