// SPDX-License-Identifier: GPL-2.0

//! Prints the figures of `stat`.

use super::{lines::Lines, phase_lines::PhaseLines};
use crate::{
    budget::Breakdown,
    columns,
    commands::show::Show,
    rate::{Spread, Stability},
    render::{
        Format, budget, facts,
        grid::{Column, Rows},
        repeated::{self, Repeated},
        rows::{self, Words},
        sheet::Exporter,
        table,
        units::{duration, time_of_day},
        words,
    },
    snapshot::Snapshot,
    view::View,
};
use anyhow::Result;
use std::io::Write;

/// What is printed of an interval.
#[derive(Debug)]
pub enum Tables {
    /// A table of exits.
    Exits,
    /// A line of exits.
    Lines(Lines),
    /// Where the time went.
    Phases,
    /// The same in a line.
    PhaseLines(PhaseLines),
}

/// Prints figures to one place, in one format.
pub struct Printer<'a> {
    show: &'a Show,
    exporter: Box<dyn Exporter>,
    out: Box<dyn Write>,
    tables: Tables,
    /// The number of intervals that have been printed.
    printed: usize,
}

impl Printer<'_> {
    /// Prints as `show` asks for. If `continues`, something is there already.
    pub fn new(show: &Show, out: Box<dyn Write>, continues: bool, tables: Tables) -> Printer<'_> {
        let mut exporter = show.format().exporter();
        if continues {
            exporter.go_on();
        }
        Printer {
            show,
            exporter,
            out,
            tables,
            printed: 0,
        }
    }

    /// Whether there is a line for each interval.
    fn has_lines(&self) -> bool {
        matches!(self.tables, Tables::Lines(_) | Tables::PhaseLines(_))
    }

    /// Whether the lines are for people. For programs, they are tables of one row.
    fn is_line(&self) -> bool {
        self.has_lines() && self.show.format() == Format::Table
    }

    /// Prints what precedes all figures.
    pub fn begin(&mut self) -> Result<()> {
        fn grid<'a, R>(columns: Vec<Column<'a, R>>) -> Rows<'a, R> {
            let mut columns = timed(columns, None);
            columns.push(Column::fact(&columns::CLOCK, None::<f64>));
            Rows { columns, rows: &[] }
        }

        match self.tables {
            Tables::Exits | Tables::Lines(_) => {
                self.exporter.begin(&grid(rows::columns()), &mut self.out)
            }
            Tables::Phases | Tables::PhaseLines(_) => {
                let grid = grid(budget::columns(None));
                self.exporter.begin(&grid, &mut self.out)
            }
        }
    }

    /// Prints `delta`. `what` says when it was counted; this ended after `end` seconds.
    pub fn print(&mut self, delta: &Snapshot, what: &str, end: Option<f64>) -> Result<View> {
        self.printed += 1;
        let perfs = self.show.perfs(delta);
        let delta = perfs.as_ref().unwrap_or(delta);
        let selection = &self.show.selection;
        let unit = self.show.unit(delta);
        let (is_line, has_lines) = (self.is_line(), self.has_lines());
        match &mut self.tables {
            Tables::Lines(lines) if is_line => lines.print(delta, unit, &mut self.out),
            Tables::Exits | Tables::Lines(_) => {
                let view = match has_lines {
                    true => View::sum(delta, selection)?,
                    false => View::of_part(delta, selection)?,
                };
                let mut grid = rows::grid(delta, &view);
                grid.columns = timed(grid.columns, end);
                let facts = facts::Report::new(delta, &view).with_time(end);
                let mut sheet = rows::sheet(&grid, &facts, selection, unit, self.show.words);
                sheet.reading = (!has_lines).then_some((delta, selection));
                sheet.title = title(words::head(delta, selection, unit), delta, what);
                self.exporter.sheet(&sheet, &mut self.out)?;
                self.end_table()?;
                drop(grid);
                Ok(view)
            }
            Tables::PhaseLines(lines) if is_line => {
                let breakdown = Breakdown::of_part(delta, selection);
                lines.print(delta, &breakdown, selection, unit, &mut self.out)?;
                View::of_part(delta, selection)
            }
            Tables::Phases | Tables::PhaseLines(_) => {
                let mut breakdown = Breakdown::of_part(delta, selection);
                if has_lines {
                    breakdown = breakdown.in_one_row();
                }
                let mut grid = budget::grid(delta, &breakdown);
                grid.columns = timed(grid.columns, end);
                let facts = facts::PhaseReport::new(delta, &breakdown, end);
                let title = title(words::time_head(delta, selection, unit), delta, what);
                let mut sheet = budget::sheet(&grid, &facts, delta, selection, &breakdown, unit);
                sheet.title.splice(0..0, title);
                self.exporter.sheet(&sheet, &mut self.out)?;
                self.end_table()?;
                View::of_part(delta, selection)
            }
        }
    }

    /// Keeps a table apart from what follows.
    fn end_table(&mut self) -> Result<()> {
        if !self.has_lines() {
            self.exporter.say(&[String::new()], &mut self.out)?;
        }
        Ok(self.out.flush()?)
    }

    /// Prints what the table of an interval does not say.
    pub fn note(&mut self, view: &View) -> Result<()> {
        let is_table = matches!(self.tables, Tables::Exits);
        if let Some(words) = words::untimed(view).filter(|_| is_table) {
            self.exporter.say(&[words, String::new()], &mut self.out)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints what several runs counted.
    pub fn repeated(
        &mut self,
        last: &Snapshot,
        rows: &[Repeated],
        runs: usize,
        figures: [Spread; 3],
    ) -> Result<()> {
        let unit = self.show.unit(last);
        let selection = &self.show.selection;
        let facts = repeated::Facts::new(last, runs, figures);
        let grid = repeated::grid(rows);
        let mut sheet = repeated::sheet(&grid, &facts, selection, unit, table::width());
        sheet.title = vec![words::head(last, selection, unit)];
        let notes = words::difference_notes(last);
        sheet.notes.splice(0..0, notes);
        self.exporter.sheet(&sheet, &mut self.out)?;
        self.out.flush()?;
        Ok(())
    }

    /// Prints the summary of all intervals.
    pub fn sum_up(&mut self, delta: &Snapshot, rates: &[(f64, f64)]) -> Result<()> {
        if self.has_lines() {
            self.exporter.say(&[String::new()], &mut self.out)?;
        }
        let selection = &self.show.selection;
        let unit = self.show.unit(delta);
        let timed = self.show.perfs(delta);
        let view = View::of_part(timed.as_ref().unwrap_or(delta), selection)?;
        let mut lines = words::difference_notes(delta);
        if let Tables::Phases | Tables::PhaseLines(_) = self.tables {
            let breakdown = Breakdown::of_part(delta, selection);
            if self.has_lines() || self.printed > 1 {
                lines.extend(budget::lines(&breakdown, unit));
                lines.push(String::new());
            }
            lines.extend(budget::notes(&breakdown, unit));
        } else {
            if self.show.words == Some(Words::Perf) {
                lines.extend(words::perfs_times(delta, timed.is_some()));
            }
            lines.extend(words::ranking(&view, selection, unit));
            lines.extend(words::untimed(&View::of_part(delta, selection)?));
            lines.push(words::total(&view, timed.as_ref().unwrap_or(delta), unit));
        }
        lines.push(words::rate(view.selected.exits, delta));
        let stability = Stability::new(rates);
        lines.extend(stability.as_ref().map(words::stability));
        self.exporter.say(&lines, &mut self.out)?;
        self.out.flush()?;
        Ok(())
    }
}

/// The lines above a table: what was counted, and when.
fn title(head: String, delta: &Snapshot, what: &str) -> Vec<String> {
    let lasted = delta.seconds().map(|seconds| duration(seconds) + ", ");
    let when = delta
        .clock
        .map(|time| format!(", at {}", time_of_day(time)));
    vec![
        head,
        String::new(),
        lasted.unwrap_or_default() + what + &when.unwrap_or_default(),
    ]
}

/// Puts a column with the interval's end first.
fn timed<R>(columns: Vec<Column<'_, R>>, end: Option<f64>) -> Vec<Column<'_, R>> {
    let end = end.map(|seconds| (seconds * 1e6).round() / 1e6);
    let time = Column::fact(&columns::TIME, end);
    [time].into_iter().chain(columns).collect()
}
