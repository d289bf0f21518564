// SPDX-License-Identifier: GPL-2.0
//! What a guest may read in a time, and that others do not notice when it wants more.

use super::leaves::ask;
use super::test;
use crate::harness::runner::Test;
use crate::host::module::{Host, State};
use crate::oracle::leaf::{self, exits, query};
use crate::vmm::cpu;
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![test("query.bounded", State::Absent, bounded)]
}

/// Cache lines that a vCPU may read in a millisecond.
const LINES_PER_MS: u64 = 1000;

/// A guest with many vCPUs whose totals are many cache lines away is made to wait for
/// them; a guest that asks for little is not, and does not wait with it.
fn bounded(host: &mut Host) -> Result<String> {
    const VCPUS: u32 = 256;
    const QUERIES: u64 = 20;
    host.reload("log=N scope=vm")?;
    let mut large = Vm::plain()?;
    let idle = large.add_idle(VCPUS - 1)?;
    // Exits, cycles, and those not timed, of each reason; lines of 64 bytes.
    let slots = cpu::isa().slots() as u64;
    let lines = (slots * 24).div_ceil(64) * u64::from(VCPUS);
    let least = Duration::from_micros(lines * 1000 / LINES_PER_MS);

    let before = large.exits()?;
    let start = Instant::now();
    let answers = ask(&mut large, &[(leaf::TOTAL_EXITS, 0); QUERIES as usize])?;
    let took = start.elapsed();
    // The host's interrupts may add to them.
    let more = large.exits()? - before - QUERIES - 1;
    for (at, &answer) in (0..).zip(&answers) {
        let (got, want) = (exits(answer)?, before + at);
        ensure!((want..=want + more).contains(&got), "want {want} got {got}");
    }
    // What a millisecond holds may be used at once.
    let all = least * QUERIES as u32;
    let text = format!("{QUERIES} queries of {lines} lines in {took:.1?}, want {all:.1?}");
    ensure!(took + Duration::from_millis(1) >= all, "{text}");
    // Waiting is no hang, and costs no CPU's time.
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
    let stop = AtomicBool::new(false);
    let beside = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !stop.load(Relaxed) {
                query(&mut large, leaf::TOTAL_EXITS, 0)?;
            }
            anyhow::Ok(())
        });
        let beside = time();
        stop.store(true, Relaxed);
        asking.join().ok().context("the guest panicked")??;
        beside
    })?;
    let text = format!("{text}; another guest {alone:.1?}, {beside:.1?} beside it");
    ensure!(beside < 3 * alone, "{text}");
    drop(idle);
    Ok(text)
}
