// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat INTERVAL`: what each interval counted.

use super::{
    printer::Printer,
    restart::{FROM_START, started_after},
};
use crate::{
    commands::interrupt::Interrupt, continuity::REPLACED, snapshot::Snapshot, source::Source,
};
use anstream::eprintln;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Prints `count` intervals, fewer after Ctrl-C, and their summary.
///
/// # Errors
///
/// If the output cannot be written.
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
    // Where the summary begins, and where the next interval begins.
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
                // Earlier intervals belong to other counters: the summary starts over.
                rates.clear();
                let Some(start) = started_after(&now, &before) else {
                    eprintln!("exitprof: {REPLACED} ({why}): counting starts over");
                    (first, before) = (now.clone(), now);
                    continue;
                };
                eprintln!("exitprof: {REPLACED} ({why}): {FROM_START}");
                first = start;
                now.since(&first)?
            }
        };
        // The host's clock goes on when the module is reloaded.
        let time = now.time_ns.saturating_sub(started) as f64 / 1e9;
        let what = format!("interval {nth}, ending after {time:.3} s");
        let view = printer.print(&delta, &what, Some(time))?;
        printer.note(&view)?;
        rates.extend(view.rate(delta.seconds()));
        before = now;
    }
    let all = before.since(&first)?;
    printer.sum_up(&all, &rates)
}
