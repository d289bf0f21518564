// SPDX-License-Identifier: GPL-2.0

//! Differences when the counters may have started from zero meanwhile.

use crate::{
    commands::tell::tell,
    continuity::{REPLACED, unknown},
    snapshot::Snapshot,
};
use anyhow::{Context, Result};

/// Says that the next figures begin where the counters started.
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
    let start = now.started_after(before).with_context(|| unknown(why))?;
    tell(format_args!("{REPLACED} ({why}): {FROM_START}"));
    Ok(now.since(&start)?)
}
