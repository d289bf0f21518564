// SPDX-License-Identifier: GPL-2.0

//! Prints the figures of `stat`.

use super::lines::Lines;
use crate::{
    columns,
    commands::show::Show,
    rate::{Spread, Stability},
    render::{
        Format, facts,
        grid::{Column, Rows},
        repeated::{self, Repeated},
        rows,
        sheet::Exporter,
        table,
        units::{Unit, duration, time_of_day},
        words,
    },
    select::Selection,
    snapshot::Snapshot,
    view::{Row, View},
};
use anyhow::Result;
use std::io::Write;

/// Prints figures to one place, in one format.
pub struct Printer<'a> {
    show: &'a Show,
    exporter: Box<dyn Exporter>,
    out: Box<dyn Write>,
    /// A line for each interval, if that is asked for.
    lines: Option<Lines>,
}

impl Printer<'_> {
    /// Prints as `show` asks for. If `continues`, something is there already.
    pub fn new(
        show: &Show,
        out: Box<dyn Write>,
        continues: bool,
        lines: Option<Lines>,
    ) -> Printer<'_> {
        let mut exporter = show.format().exporter();
        if continues {
            exporter.go_on();
        }
        Printer {
            show,
            exporter,
            out,
            lines,
        }
    }

    /// Prints what precedes all figures.
    pub fn begin(&mut self) -> Result<()> {
        let mut columns = timed(rows::columns(), None);
        columns.push(Column::fact(&columns::CLOCK, None::<f64>));
        self.exporter
            .begin(&Rows { columns, rows: &[] }, &mut self.out)
    }

    /// Prints `delta`. `what` says when it was counted; this ended after `end` seconds.
    pub fn print(&mut self, delta: &Snapshot, what: &str, end: Option<f64>) -> Result<View> {
        let selection = &self.show.selection;
        let unit = self.show.unit(delta);
        if let Some(lines) = &mut self.lines {
            if self.show.format() == Format::Table {
                return lines.print(delta, unit, &mut self.out);
            }
            let view = View::sum(delta, selection)?;
            let mut grid = rows::grid(delta, &view);
            grid.columns = timed(grid.columns, end);
            let facts = facts::Report::new(delta, &view).with_time(end);
            let mut sheet = rows::sheet(&grid, &facts, selection, unit, self.show.words);
            sheet.title = title(delta, selection, unit, what);
            self.exporter.sheet(&sheet, &mut self.out)?;
            self.out.flush()?;
            drop(grid);
            return Ok(view);
        }
        let view = View::of_part(delta, selection)?;
        let mut grid = rows::grid(delta, &view);
        grid.columns = timed(grid.columns, end);
        let facts = facts::Report::new(delta, &view).with_time(end);
        let mut sheet = rows::sheet(&grid, &facts, selection, unit, self.show.words);
        sheet.title = title(delta, selection, unit, what);
        self.exporter.sheet(&sheet, &mut self.out)?;
        self.exporter.say(&[String::new()], &mut self.out)?;
        self.out.flush()?;
        drop(grid);
        Ok(view)
    }

    /// Prints what the table of an interval does not say.
    pub fn note(&mut self, view: &View) -> Result<()> {
        if let Some(words) = words::untimed(view).filter(|_| self.lines.is_none()) {
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
        let mut sheet = repeated::sheet(&grid, &facts, selection.by, unit, table::width());
        sheet.title = vec![words::head(last, selection, unit)];
        let notes = words::difference_notes(last);
        sheet.notes.splice(0..0, notes);
        self.exporter.sheet(&sheet, &mut self.out)?;
        self.out.flush()?;
        Ok(())
    }

    /// Prints the summary of all intervals.
    pub fn sum_up(&mut self, delta: &Snapshot, rates: &[(f64, f64)]) -> Result<()> {
        if self.lines.is_some() {
            self.exporter.say(&[String::new()], &mut self.out)?;
        }
        let view = View::of_part(delta, &self.show.selection)?;
        let unit = self.show.unit(delta);
        let mut lines = words::difference_notes(delta);
        lines.extend(words::ranking(&view, &self.show.selection, unit));
        lines.extend(words::untimed(&view));
        lines.push(words::total(&view, delta, unit));
        lines.push(words::rate(view.selected.exits, delta));
        let stability = Stability::new(rates);
        lines.extend(stability.as_ref().map(words::stability));
        self.exporter.say(&lines, &mut self.out)?;
        self.out.flush()?;
        Ok(())
    }
}

/// The lines above a table: what was counted, and when.
fn title(delta: &Snapshot, selection: &Selection, unit: Unit, what: &str) -> Vec<String> {
    let lasted = delta.seconds().map(|seconds| duration(seconds) + ", ");
    let when = delta
        .clock
        .map(|time| format!(", at {}", time_of_day(time)));
    vec![
        words::head(delta, selection, unit),
        String::new(),
        lasted.unwrap_or_default() + what + &when.unwrap_or_default(),
    ]
}

/// Puts a column with the interval's end first.
fn timed<'a>(columns: Vec<Column<'a, Row>>, end: Option<f64>) -> Vec<Column<'a, Row>> {
    let end = end.map(|seconds| (seconds * 1e6).round() / 1e6);
    let time = Column::fact(&columns::TIME, end);
    [time].into_iter().chain(columns).collect()
}
