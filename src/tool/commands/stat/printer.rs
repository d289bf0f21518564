// SPDX-License-Identifier: GPL-2.0

//! Prints the figures of `stat`.

use crate::{
    columns,
    commands::show::Show,
    rate::Stability,
    render::{
        facts,
        grid::{Column, Rows},
        rows,
        sheet::Exporter,
        table,
        units::duration,
        words,
    },
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
}

impl Printer<'_> {
    /// Prints as `show` asks for.
    pub fn new(show: &Show, out: Box<dyn Write>) -> Printer<'_> {
        Printer {
            show,
            exporter: show.format.exporter(),
            out,
        }
    }

    /// Prints what precedes all figures.
    pub fn begin(&mut self) -> Result<()> {
        let columns = timed(rows::columns(), None);
        self.exporter
            .begin(&Rows { columns, rows: &[] }, &mut self.out)
    }

    /// Prints `delta`. `what` says when it was counted; this ended after `end` seconds.
    pub fn print(&mut self, delta: &Snapshot, what: &str, end: Option<f64>) -> Result<View> {
        let selection = &self.show.selection;
        let view = View::new(delta, selection)?;
        let unit = self.show.unit(delta);
        let mut grid = rows::grid(&view);
        grid.columns = timed(grid.columns, end);
        let facts = facts::Report::new(delta, &view).with_time(end);
        let mut sheet = rows::sheet(&grid, &facts, selection, unit, table::width());
        let lasted = delta.seconds().map(|seconds| duration(seconds) + ", ");
        sheet.title = vec![
            words::head(delta, selection, unit),
            String::new(),
            lasted.unwrap_or_default() + what,
        ];
        self.exporter.sheet(&sheet, &mut self.out)?;
        self.exporter.say(&[String::new()], &mut self.out)?;
        self.out.flush()?;
        drop(grid);
        Ok(view)
    }

    /// Prints what the table of an interval does not say.
    pub fn note(&mut self, view: &View) -> Result<()> {
        if let Some(words) = words::untimed(view) {
            self.exporter.say(&[words, String::new()], &mut self.out)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints the summary of all intervals.
    pub fn sum_up(&mut self, delta: &Snapshot, rates: &[(f64, f64)]) -> Result<()> {
        let view = View::new(delta, &self.show.selection)?;
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

/// Puts a column with the interval's end first.
fn timed<'a>(columns: Vec<Column<'a, Row>>, end: Option<f64>) -> Vec<Column<'a, Row>> {
    let end = end.map(|seconds| (seconds * 1e6).round() / 1e6);
    let time = Column::new(&columns::TIME, move |_: &Row| end);
    [time].into_iter().chain(columns).collect()
}
