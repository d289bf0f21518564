// SPDX-License-Identifier: GPL-2.0

//! Differences when the counters may have started from zero meanwhile.

use crate::{commands::tell::tell, continuity::REPLACED, snapshot::Snapshot};
use anyhow::{Context, Result};

/// Says that the next figures begin at [`started_after`].
pub const FROM_START: &str = "what follows was counted since they started";

/// What was counted since `before`. If the counters started from zero in between, it is what
/// they counted since, and a message says so.
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
        format!("{REPLACED} ({why}): it is unknown what was counted in between")
    })?;
    tell(format_args!("{REPLACED} ({why}): {FROM_START}"));
    Ok(now.since(&start)?)
}

/// The start of the counters of `now`, if they are known to have started after `before`.
pub fn started_after(now: &Snapshot, before: &Snapshot) -> Option<Snapshot> {
    let is_host = [now, before].iter().all(|s| s.origin.is_host());
    let start = now
        .since_ns
        .filter(|&since| is_host && since >= before.time_ns)?;
    Some(Snapshot {
        time_ns: start,
        ..now.with(Vec::new())
    })
}
