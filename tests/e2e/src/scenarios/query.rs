// SPDX-License-Identifier: GPL-2.0
//! How fast a guest may read counters, without slowing others.

use crate::harness::{Test, threads};
use crate::host::{Host, State};
use crate::oracle::leaf::{self, exits, total_exits};
use crate::vmm::{Op, Program, Vm, cpu};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test<Host>> {
    vec![Test::new("query.bounded", State::Absent, bounded)]
}

/// Cache lines that a vCPU may read in a millisecond.
const LINES_PER_MS: u64 = 1000;

/// A guest with many vCPUs, whose totals take many cache lines, has to wait for its
/// answers. A small guest beside it does not.
fn bounded(host: &mut Host) -> Result<String> {
    const VCPUS: u32 = 256;
    const QUERIES: u64 = 20;
    host.reload("log=N scope=vm")?;
    let mut large = Vm::plain()?;
    let idle = large.add_idle(VCPUS - 1)?;
    // Exits, cycles and untimed exits of each reason, in lines of 64 bytes.
    let slots = cpu::isa().slots() as u64;
    let lines = (slots * 24).div_ceil(64) * u64::from(VCPUS);
    let least = Duration::from_micros(lines * 1000 / LINES_PER_MS);

    let before = large.exits()?;
    let start = Instant::now();
    let answers = large.cpuids(&[(leaf::TOTAL_EXITS, 0); QUERIES as usize])?;
    let took = start.elapsed();
    // The host's interrupts may add exits.
    let more = large.exits()? - before - QUERIES - 1;
    for (at, &answer) in (0..).zip(&answers) {
        let (got, want) = (exits(answer)?, before + at);
        ensure!((want..=want + more).contains(&got), "want {want} got {got}");
    }
    // The allowance of a millisecond may be used at once.
    let all = least * QUERIES as u32;
    let text = format!("{QUERIES} queries of {lines} lines in {took:.1?}, want {all:.1?}");
    ensure!(took + Duration::from_millis(1) >= all, "{text}");
    // But the waiting ends.
    ensure!(took < 10 * all + Duration::from_secs(5), "{text}");

    let mut small = Vm::plain()?;
    let mut program = Program::new();
    for _ in 0..20 {
        program.cpuid(leaf::TOTAL_EXITS, 0);
        program.repeat(Op::Vmcall, 100, 0);
    }
    let mut time = || {
        let run = |_| {
            let start = Instant::now();
            small.run(&program).map(|_| start.elapsed())
        };
        let times = (0..10).map(run).collect::<Result<Vec<_>>>()?;
        times.into_iter().min().context("no time")
    };
    let alone = time()?;
    let ask = || total_exits(&mut large).map(drop);
    let beside = threads::beside([ask], time)?;
    let text = format!("{text}; another guest {alone:.1?}, {beside:.1?} beside it");
    ensure!(beside < 3 * alone, "{text}");
    drop(idle);
    Ok(text)
}
