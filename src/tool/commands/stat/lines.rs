// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat --line`: a line for each interval, as vmstat prints.

use crate::{
    render::{
        table,
        units::{self, Unit, time_of_day},
        words,
    },
    select::{By, Selection, Sort},
    snapshot::Snapshot,
    view::View,
};
use anyhow::Result;
use std::io::Write;

/// The headings are repeated after so many lines.
const PAGE: usize = 20;
/// Columns of reasons are at least so wide.
const NARROWEST: usize = 7;
const OTHERS: &str = "others";

/// The columns.
#[derive(Debug)]
pub struct Lines {
    selection: Selection,
    /// The reasons that have columns.
    reasons: Vec<String>,
    /// Whether there is a column for the others.
    has_others: bool,
    printed: usize,
}

impl Lines {
    /// Chooses reasons to show: the selected ones, or those with the most exits so far.
    ///
    /// # Errors
    ///
    /// If something is selected that does not exist.
    pub fn new(selection: &Selection, first: &Snapshot) -> Result<Lines> {
        let selection = Selection {
            by: By::Reason,
            sort: Sort::Exits,
            ..selection.clone()
        };
        let mut lines = Lines {
            has_others: true,
            selection: Selection {
                top: None,
                ..selection.clone()
            },
            reasons: Vec::new(),
            printed: 0,
        };
        lines.choose(&View::new(first, &selection)?);
        Ok(lines)
    }

    /// Chooses the reasons that have columns.
    fn choose(&mut self, view: &View) {
        let fixed = HEADS.iter().map(|(_, width)| width + 1).sum::<usize>();
        let mut room = table::width().saturating_sub(fixed + NARROWEST + 1);
        for row in view.shown() {
            let width = row.name.len().max(NARROWEST) + 1;
            if width > room {
                break;
            }
            room -= width;
            self.reasons.push(row.name.to_string());
        }
        // The selected ones are all there is.
        self.has_others = self.selection.reasons.is_empty() || self.reasons.len() < view.rows.len();
    }

    /// Prints the line of an interval, and from time to time the headings.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn print(&mut self, delta: &Snapshot, unit: Unit, out: &mut dyn Write) -> Result<View> {
        let view = View::of_part(delta, &self.selection)?;
        let has_reasons = !self.reasons.is_empty();
        if !has_reasons {
            // There was no exit before.
            self.choose(&view);
        }
        let is_changed = has_reasons == self.reasons.is_empty();
        if self.printed == 0 {
            writeln!(out, "{}\n", words::head(delta, &self.selection, unit))?;
        }
        if is_changed || self.printed.is_multiple_of(PAGE) {
            let reasons = self.reasons.iter().map(|name| (name.as_str(), NARROWEST));
            let others = self.has_others.then_some((OTHERS, NARROWEST));
            let heads = HEADS.into_iter().chain(reasons).chain(others);
            let heads = heads.map(|(head, width)| format!("{head:>width$}"));
            writeln!(out, "{}", heads.collect::<Vec<_>>().join(" "))?;
        }
        self.printed += 1;
        let sum = view.selected;
        let seconds = delta.seconds();
        let rate = |exits: u128| match seconds {
            Some(seconds) => units::rate(exits as f64 / seconds, 7),
            None => "-".into(),
        };
        let share = delta.cpu_share(sum.cycles).map(units::percent);
        let fixed = [
            delta.clock.map_or("-".into(), time_of_day),
            rate(sum.exits),
            share.unwrap_or("-".into()),
            sum.avg().map_or("-".into(), |cycles| unit.show(cycles)),
        ];
        let mut cells: Vec<String> = fixed
            .iter()
            .zip(HEADS)
            .map(|(cell, (_, width))| format!("{cell:>width$}"))
            .collect();
        let mut others = sum.exits;
        for name in &self.reasons {
            let row = view.rows.iter().find(|row| *row.name == **name);
            let exits = row.map_or(0, |row| row.exits);
            others = others.saturating_sub(exits);
            let width = name.len().max(NARROWEST);
            cells.push(format!("{:>width$}", rate(exits)));
        }
        if self.has_others {
            cells.push(format!("{:>NARROWEST$}", rate(others)));
        }
        writeln!(out, "{}", cells.join(" "))?;
        out.flush()?;
        Ok(view)
    }
}

/// The columns that are always there, and their widths.
const HEADS: [(&str, usize); 4] = [("Time", 8), ("Exits/s", 7), ("CPU%", 6), ("Avg", 6)];
