// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat INTERVAL`: what each interval counted.

use super::printer::Printer;
use crate::{
    commands::{clock::Clock, patient::Patient, restart::FROM_START, tell::tell},
    continuity::REPLACED,
    snapshot::Snapshot,
};
use anyhow::Result;
use std::time::Duration;

/// Prints `count` intervals, fewer after Ctrl-C, and their summary. Ctrl-C also ends the
/// interval that it interrupts.
///
/// # Errors
///
/// If the output cannot be written.
pub fn run(
    interval: Duration,
    count: u32,
    mut source: Patient,
    first: Snapshot,
    printer: &mut Printer<'_>,
) -> Result<()> {
    printer.begin()?;
    let mut clock = Clock::start()?;
    // Where the summary begins, and where the next interval begins.
    let (mut first, mut before) = (first.clone(), first);
    let started = before.time_ns;
    let mut rates = Vec::new();
    for nth in 1..=count {
        let is_interrupted = clock.is_interrupted_before(interval)?;
        let Some(now) = source.read() else {
            if is_interrupted {
                break;
            }
            continue;
        };
        let delta = match now.since(&before) {
            Ok(added) => added,
            Err(why) => {
                // Earlier intervals belong to other counters: the summary starts over.
                rates.clear();
                let Some(start) = now.started_after(&before) else {
                    tell(format_args!("{REPLACED} ({why}): counting starts over"));
                    (first, before) = (now.clone(), now);
                    if is_interrupted {
                        break;
                    }
                    continue;
                };
                tell(format_args!("{REPLACED} ({why}): {FROM_START}"));
                first = start;
                now.since(&first)?
            }
        };
        // The host's clock goes on when the module is reloaded.
        let time = now.time_ns.saturating_sub(started) as f64 / 1e9;
        let what = format!("interval {nth}, ending after {time:.3} s");
        let view = printer.print(&delta, &what, Some(time))?;
        printer.note(&view)?;
        before = now;
        if is_interrupted {
            // Too short to be compared with the others.
            break;
        }
        rates.extend(view.rate(delta.seconds()).zip(delta.seconds()));
    }
    let all = before.since(&first)?;
    printer.sum_up(&all, &rates)
}
