// SPDX-License-Identifier: GPL-2.0
//! A console that is slow, and guests that do not wait for it.

use super::log::{BURST, query_line};
use super::test;
use crate::harness::runner::{Skip, Test};
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State};
use crate::oracle::leaf;
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![test("log.slow_console", State::Absent, slow_console)]
}

/// While it lives, each line of the log goes to the console.
struct Loud(String);

const LEVELS: &str = "/proc/sys/kernel/printk";

impl Loud {
    fn turn_on() -> Result<Self> {
        let before = fs::read_to_string(LEVELS).context(LEVELS)?;
        fs::write(LEVELS, "8")?;
        Ok(Self(before))
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        // What is left of the queue goes to the log alone.
        let _ = fs::write(LEVELS, &self.0);
    }
}

/// How long the console takes for a line as long as that of a query. The
/// writer waits for it, unless another prints at the time.
fn time_per_line() -> Result<Duration> {
    const LINES: u32 = 4;
    let start = Instant::now();
    for _ in 0..LINES {
        fs::write("/dev/kmsg", "<6>e2e: how long does this line take, in all?")?;
    }
    Ok(start.elapsed() / LINES)
}

/// A guest's burst of queries, and one that is suppressed, are answered long
/// before the console has shown the burst.
fn slow_console(host: &mut Host) -> Result<String> {
    let queries = BURST + 1;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::Cpuid, queries as u32, leaf::TOTAL_EXITS);
    host.reload("log=N")?;
    let time = |vm: &mut Vm| {
        let start = Instant::now();
        vm.run(&program).map(|_| start.elapsed())
    };
    let quiet = time(&mut vm)?;
    let mut log = Kmsg::from_now()?;
    let loud = Loud::turn_on()?;
    let printing = time_per_line()? * BURST as u32;
    if printing < 50 * quiet {
        return Err(Skip::because(format!(
            "the console is fast: {BURST} lines in {printing:.1?}, {queries} queries in {quiet:.1?}"
        )));
    }
    module::set_param(PROFILER, "log", "Y")?;
    let took = time(&mut vm)?;
    drop(loud);
    let logged = log
        .collect(BURST, Duration::from_secs(3), query_line)?
        .len();
    let text = format!(
        "{queries} queries in {took:.1?}, {quiet:.1?} without a log; \
         the console takes {printing:.1?} for {logged} lines"
    );
    // Waiting would add all of it. The printing may take the guest's CPU for a
    // line or two, until the guest finds another.
    ensure!(took < printing / 2 && logged >= BURST, "{text}");
    Ok(text)
}
