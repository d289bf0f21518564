// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat --phases --line`: where the time of each interval went, in a line.

use super::lines::{Cell, Page};
use crate::{
    budget::{Breakdown, Part},
    render::{
        budget::PARTS,
        table,
        units::{self, Unit},
        words,
    },
    select::Selection,
    snapshot::Snapshot,
};
use anyhow::Result;
use std::io::Write;

/// Shares are at most so wide.
const SHARE: usize = 6;

/// Prints the lines.
#[derive(Debug, Default)]
pub struct PhaseLines(Page);

impl PhaseLines {
    /// Prints the line of an interval, and from time to time the headings.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn print(
        &mut self,
        delta: &Snapshot,
        breakdown: &Breakdown,
        selection: &Selection,
        unit: Unit,
        out: &mut dyn Write,
    ) -> Result<()> {
        let share = |part: Part| {
            part.percent
                .map_or("-".into(), |p| units::percent(p / 100.0))
        };
        let mut columns: Vec<(u8, Cell<'_>)> = PARTS
            .iter()
            .zip(breakdown.time.parts())
            .map(|((meta, need), part)| (*need, Cell::new(meta.label, SHARE, share(part))))
            .collect();
        let time = Cell::time(delta);
        let width = |columns: &[(u8, Cell<'_>)]| -> usize {
            columns.iter().map(|(_, cell)| cell.width + 1).sum()
        };
        while !columns.is_empty() && time.width + width(&columns) > table::width() {
            let least = columns.iter().map(|(need, _)| *need).min();
            columns.retain(|(need, _)| Some(*need) != least);
        }
        let cells: Vec<Cell<'_>> = [time]
            .into_iter()
            .chain(columns.into_iter().map(|(_, cell)| cell))
            .collect();
        let title = words::time_head(delta, selection, unit);
        self.0.print(&title, &cells, false, out)
    }
}
