// SPDX-License-Identifier: GPL-2.0
//! Guests do not wait for a slow console.

use crate::harness::{Skip, Test};
use crate::host::module::{self, PROFILER};
use crate::host::{Host, Kmsg, State};
use crate::oracle::leaf;
use crate::oracle::log::{BURST, query_line};
use crate::vmm::{Op, Program, Vm};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test<Host>> {
    vec![Test::new("log.slow_console", State::Absent, slow_console)]
}

/// Sends each line of the log to the console, until this is dropped.
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
        // The rest of the queue goes to the log alone.
        let _ = fs::write(LEVELS, &self.0);
    }
}

/// How long the console takes for a line as long as that of a query. The writer waits
/// for the console, unless another thread prints at the same time.
fn time_per_line() -> Result<Duration> {
    const LINES: u32 = 4;
    let start = Instant::now();
    for _ in 0..LINES {
        fs::write("/dev/kmsg", "<6>e2e: how long does this line take, in all?")?;
    }
    Ok(start.elapsed() / LINES)
}

/// A guest gets the answers to a burst of queries, and to one more that is suppressed,
/// long before the console has shown their lines.
fn slow_console(host: &mut Host) -> Result<String> {
    let queries = BURST + 1;
    let mut vm = Vm::plain()?;
    let program = Program::repeated(Op::Cpuid, queries as u32, leaf::TOTAL_EXITS);
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
    // Waiting would add all of the console's time. Printing may keep the guest's CPU
    // for a line or two, until the guest moves to another.
    ensure!(took < printing / 2 && logged >= BURST, "{text}");
    Ok(text)
}
