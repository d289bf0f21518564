// SPDX-License-Identifier: GPL-2.0

//! What was counted between two moments of a recording.

use super::Recording;
use crate::{
    continuity::{Break, unknown},
    snapshot::Snapshot,
};
use anyhow::{Result, ensure};

/// What was counted in a part of a recording.
#[derive(Debug)]
pub struct Part {
    /// What was counted. Its period may begin later than that of the part: see `replaced`.
    pub added: Snapshot,
    /// Why what was counted before is left out: it was counted by other counters.
    pub replaced: Option<Break>,
}

impl Recording {
    /// What was counted from the snapshot `first` to the snapshot `last`. If the counters were
    /// replaced in between, it is what the new ones counted since they started, or since the
    /// first snapshot of them.
    ///
    /// # Errors
    ///
    /// If the recording is damaged, or it is unknown what was counted.
    pub fn between(&mut self, first: usize, last: usize) -> Result<Part> {
        let now = self.read(last)?;
        let why = match now.since(&self.read(first)?) {
            Ok(added) => {
                return Ok(Part {
                    added,
                    replaced: None,
                });
            }
            Err(why) => why,
        };
        let mut start = now.clone();
        for index in (first..last).rev() {
            let before = self.read(index)?;
            if start.since(&before).is_err() {
                start = start.started_after(&before).unwrap_or(start);
                break;
            }
            start = before;
        }
        ensure!(start != now, unknown(why));
        Ok(Part {
            added: now.since(&start)?,
            replaced: Some(why),
        })
    }
}
