// SPDX-License-Identifier: GPL-2.0
//! What a vCPU reads while exits are counted.

use super::counts::{Counts, Which};
use super::leaf;
use super::snapshot::{Held, TAKE, live};
use super::sweep::{Sweep, Want};
use crate::vmm::{Query, Regs};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// Follows a vCPU's answers. Live numbers must not fall. Those of a snapshot must not
/// change, and were live when it was taken.
pub struct Rising {
    /// The highest numbers so far.
    pub sweep: Sweep,
    held: Held,
    /// The highest live numbers before the snapshot.
    before: BTreeMap<Which, Counts>,
    /// Answers from the snapshot.
    seen: BTreeMap<Query, Regs>,
}

impl Rising {
    pub fn new(sweep: Sweep) -> Self {
        Self {
            sweep,
            held: Held::default(),
            before: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Checks an answer against those before it.
    pub fn follow(&mut self, query: Query, got: Regs) -> Result<()> {
        let of_snapshot = live(query.0).is_some();
        if of_snapshot && !self.held.held {
            ensure!(got == leaf::UNDEFINED, "there is no snapshot");
            return Ok(());
        }
        let (figure, which) = match self.sweep.want(query)? {
            Want::Is(want) => {
                ensure!(got == want, "want {want:x?}");
                return Ok(());
            }
            Want::Snapshot(command) => {
                self.held.follow(command, got)?;
                if command == TAKE {
                    self.before.clone_from(&self.sweep.counts);
                    self.seen.clear();
                }
                return Ok(());
            }
            Want::Counts(figure, which) => (figure, which),
        };
        let new = figure.decode(got)?;
        let last = self.sweep.counts.entry(which).or_default();
        let least = if of_snapshot {
            let seen = *self.seen.entry(query).or_insert(got);
            ensure!(got == seen, "the snapshot had {seen:x?}");
            self.before[&which]
        } else {
            *last
        };
        let least = figure.of(least);
        ensure!(
            least.is_before(new),
            "{which:?} fell from {least:?} to {new:?}"
        );
        // The numbers of a snapshot were live once.
        *last = last.max(new);
        Ok(())
    }
}
