// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat --line`: a line for each interval, as vmstat prints.

use crate::{
    render::{
        table,
        units::{self, Unit, time_of_day},
        words, wrap,
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

/// What has been printed.
#[derive(Debug, Default)]
pub struct Page {
    lines: usize,
}

impl Page {
    /// Prints a line; before the first, `title`; and from time to time, or if they have changed,
    /// the headings.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn print(
        &mut self,
        title: &str,
        cells: &[Cell<'_>],
        is_changed: bool,
        out: &mut dyn Write,
    ) -> Result<()> {
        let joined = |text: fn(&Cell<'_>) -> String| {
            let cells: Vec<String> = cells.iter().map(text).collect();
            cells.join(" ")
        };
        if self.lines == 0 {
            for part in wrap::wrapped(title, 0, 2, table::width()) {
                writeln!(out, "{part}")?;
            }
            writeln!(out)?;
        }
        if is_changed || self.lines.is_multiple_of(PAGE) {
            writeln!(
                out,
                "{}",
                joined(|cell| format!("{:>1$}", cell.head, cell.width))
            )?;
        }
        self.lines += 1;
        writeln!(
            out,
            "{}",
            joined(|cell| format!("{:>1$}", cell.text, cell.width))
        )?;
        Ok(out.flush()?)
    }
}

/// A cell of a line.
#[derive(Debug)]
pub struct Cell<'a> {
    head: &'a str,
    text: String,
    /// The width of its column.
    pub width: usize,
}

impl<'a> Cell<'a> {
    /// A cell in a column that is at least so wide.
    pub fn new(head: &'a str, narrowest: usize, text: String) -> Cell<'a> {
        Cell {
            head,
            text,
            width: head.len().max(narrowest),
        }
    }

    /// The time of day when an interval ended.
    pub fn time(delta: &Snapshot) -> Cell<'a> {
        Cell::new("Time", 8, delta.clock.map_or("-".into(), time_of_day))
    }
}

/// The columns.
#[derive(Debug)]
pub struct Lines {
    selection: Selection,
    /// The reasons that have columns.
    reasons: Vec<String>,
    /// Whether there is a column for the others.
    has_others: bool,
    page: Page,
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
            page: Page::default(),
        };
        lines.choose(&View::new(first, &selection)?);
        Ok(lines)
    }

    /// Chooses the reasons that have columns.
    fn choose(&mut self, view: &View) {
        let mut room = table::width().saturating_sub(FIXED + NARROWEST + 1);
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
        let sum = view.selected;
        let seconds = delta.seconds();
        let rate = |exits: u128| match seconds {
            Some(seconds) => units::rate(exits as f64 / seconds, NARROWEST),
            None => "-".into(),
        };
        let share = delta.cpu_share(sum.cycles).map(units::percent);
        let avg = sum.avg().map(|cycles| unit.show(cycles));
        let mut cells = vec![
            Cell::time(delta),
            Cell::new("Exits/s", NARROWEST, rate(sum.exits)),
            Cell::new("CPU%", 6, share.unwrap_or("-".into())),
            Cell::new("Avg", 6, avg.unwrap_or("-".into())),
        ];
        let mut others = sum.exits;
        for name in &self.reasons {
            let row = view.rows.iter().find(|row| *row.name == **name);
            let exits = row.map_or(0, |row| row.exits);
            others = others.saturating_sub(exits);
            cells.push(Cell::new(name, NARROWEST, rate(exits)));
        }
        if self.has_others {
            cells.push(Cell::new(OTHERS, NARROWEST, rate(others)));
        }
        let title = words::head(delta, &self.selection, unit);
        self.page.print(&title, &cells, is_changed, out)?;
        Ok(view)
    }
}

/// The width of the columns that are always there, with a blank after each.
const FIXED: usize = 8 + 7 + 6 + 6 + 4;
