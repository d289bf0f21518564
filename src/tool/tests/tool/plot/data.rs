// SPDX-License-Identifier: GPL-2.0

//! Series of snapshots.

use crate::host::PROFILE;
use exitprof::{
    recording::frame::{HEAD, encode},
    snapshot::{
        Owner, Snapshot, Vcpu,
        budget::{Budget, Phases, SpentRow},
    },
};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// The cycles of an interval.
pub const SECOND: u64 = 2_400_000_000;

/// Snapshots of a host, a second apart: each counter grows by its share of the exits in a real
/// profile, more and less in turn.
pub fn snapshots(number: usize) -> Vec<Snapshot> {
    let mut now = Snapshot::from_text(PROFILE).unwrap();
    now.clock = Some("2026-11-26T09:00:00Z".parse().unwrap());
    now.machine = Some("host1".into());
    let (exits, cycles): (Vec<u64>, Vec<u64>) = now
        .counters
        .iter()
        .map(|counter| (counter.exits, counter.cycles))
        .unzip();
    now.budgets = now.attached.iter().map(budget).collect();
    let mut all = Vec::new();
    for second in 0..number as u64 {
        all.push(now.clone());
        now.time_ns += 1_000_000_000;
        now.clock = now
            .clock
            .map(|clock| clock + std::time::Duration::from_secs(1));
        // All but the hosts' own rows are added up in them.
        let grows = |owner: &Owner| match owner {
            Owner::Vcpu(vcpu) => 1 + (second / 5 + u64::from(vcpu.vcpu) * 3) % 7,
            _ => 0,
        };
        let mut host = std::collections::HashMap::new();
        for (index, counter) in now.counters.iter_mut().enumerate() {
            let by = grows(&counter.owner);
            counter.exits += by * exits[index] / 8;
            counter.cycles += by * cycles[index] / 8;
            let sum: &mut (u64, u64) = host.entry(counter.reason).or_default();
            if by > 0 {
                sum.0 += by * exits[index] / 8;
                sum.1 += by * cycles[index] / 8;
            }
        }
        for (index, budget) in now.budgets.iter_mut().enumerate() {
            spend(budget, (second / 5 + index as u64 * 3) % 7);
        }
        for counter in now.counters.iter_mut().filter(|c| c.owner == Owner::All) {
            let (exits, cycles) = host[&counter.reason];
            counter.exits += exits;
            counter.cycles += cycles;
            // They grow in the bucket that has most.
            if let Some(histogram) = &mut counter.histogram {
                let most = histogram.buckets.iter_mut().max_by_key(|exits| **exits);
                *most.unwrap() += exits;
            }
            counter.untimed = counter.untimed.map(|untimed| untimed.min(counter.exits));
        }
    }
    all
}

/// The budget of a vCPU that has not run.
fn budget(vcpu: &Vcpu) -> Budget {
    let row = |reason, name: &str| SpentRow {
        reason: Some(reason),
        name: name.into(),
        cycles: Phases::default(),
    };
    Budget {
        owner: Owner::Vcpu(vcpu.clone()),
        elapsed: 0,
        guest: 0,
        spent: vec![row(12, "HLT"), row(30, "IO_INSTRUCTION")],
        trips: Vec::new(),
    }
}

/// Adds a second, of which a vCPU is in the guest for a tenth and `load` more tenths.
fn spend(budget: &mut Budget, load: u64) {
    budget.elapsed += SECOND;
    budget.guest += SECOND / 10 * (1 + load);
    let [halt, io] = budget.spent.as_mut_slice() else {
        unreachable!("it has two reasons")
    };
    halt.cycles.halted += SECOND / 10 * (7 - load);
    io.cycles.userspace += SECOND / 10;
    io.cycles.handler += SECOND / 20;
    io.cycles.preempted += SECOND / 20;
}

/// A file with these snapshots.
pub fn series(snapshots: &[Snapshot]) -> (TempDir, PathBuf) {
    let mut bytes = HEAD.to_vec();
    for snapshot in snapshots {
        bytes.extend(encode(snapshot).unwrap());
    }
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("recorded.series");
    fs::write(&file, bytes).unwrap();
    (dir, file)
}
