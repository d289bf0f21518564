// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat SECONDS`: what each interval counts.

use super::{
    printer::Printer,
    restart::{FROM_START, OTHERS, started_after},
};
use crate::{commands::interrupt::Interrupt, snapshot::Snapshot, source::Source};
use anstream::eprintln;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Prints `count` intervals, fewer after Ctrl-C, and what all of them come to.
///
/// # Errors
///
/// If figures cannot be printed.
pub fn run(
    interval: Duration,
    count: u32,
    source: &mut Source,
    first: Snapshot,
    printer: &mut Printer<'_>,
) -> Result<()> {
    printer.begin()?;
    let interrupt = Interrupt::listen()?;
    let mut end = Instant::now();
    // From where on all is counted together, and from where on the next interval.
    let (mut first, mut before) = (first.clone(), first);
    let started = before.time_ns;
    let mut rates = Vec::new();
    let mut lost = false;
    for nth in 1..=count {
        end += interval;
        if interrupt.before(end) {
            break;
        }
        let now = match source.read() {
            Ok(now) => now,
            // The module may be loaded again.
            Err(e) => {
                if !lost {
                    eprintln!("exitprof: {e:#}: waiting for it to come back");
                }
                lost = true;
                continue;
            }
        };
        lost = false;
        let delta = match now.since(&before) {
            Ok(added) => added,
            Err(why) => {
                // What was before is of another count: rates and totals begin anew.
                rates.clear();
                let Some(start) = started_after(&now, &before) else {
                    eprintln!("exitprof: {OTHERS}, as {why}: counting begins anew");
                    (first, before) = (now.clone(), now);
                    continue;
                };
                eprintln!("exitprof: {OTHERS}, as {why}: {FROM_START}");
                first = start;
                now.since(&first)?
            }
        };
        // The host's clock goes on from one loading of the module to the next.
        let time = now.time_ns.saturating_sub(started) as f64 / 1e9;
        let what = format!("interval {nth}, ending after {time:.3} s");
        let view = printer.print(&delta, &what, Some(time))?;
        printer.note(&view)?;
        let exits: u128 = view.rows.iter().map(|row| row.samples).sum();
        rates.extend(delta.seconds().map(|seconds| exits as f64 / seconds));
        before = now;
    }
    let all = before.since(&first)?;
    printer.sum_up(&all, &rates)
}
