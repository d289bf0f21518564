// SPDX-License-Identifier: GPL-2.0

//! Differences across a start of the counters from zero.

use crate::snapshot::{Origin, Snapshot};
use anstream::eprintln;
use anyhow::{Context, Result};

/// That the counters are not those of before.
pub const OTHERS: &str = "these are other counters than before";
/// That what was counted before they started is left out.
pub const FROM_START: &str = "what follows was counted since their start";

/// What was counted since `before`; if the counters are others, since these started, if
/// that was later, which it says.
///
/// # Errors
///
/// If it is not known what was counted.
pub fn difference(now: &Snapshot, before: &Snapshot) -> Result<Snapshot> {
    let why = match now.since(before) {
        Ok(added) => return Ok(added),
        Err(why) => why,
    };
    let start = started_after(now, before).with_context(|| {
        format!("{OTHERS}, as {why}: it is not known what was counted in between")
    })?;
    eprintln!("exitprof: {OTHERS}, as {why}: {FROM_START}");
    Ok(now.since(&start)?)
}

/// The start of the counters that `now` has, if it is known that it was after `before`.
pub fn started_after(now: &Snapshot, before: &Snapshot) -> Option<Snapshot> {
    let is_host = [now, before].iter().all(|s| s.origin == Origin::Host);
    let start = now
        .since_ns
        .filter(|&since| is_host && since >= before.time_ns)?;
    Some(Snapshot {
        time_ns: start,
        counters: Vec::new(),
        ..now.clone()
    })
}
