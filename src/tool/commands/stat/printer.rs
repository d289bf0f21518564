// SPDX-License-Identifier: GPL-2.0

//! Prints the figures of `stat`.

use crate::{
    commands::show::Show,
    rate::Stability,
    render::{
        Format, csv,
        document::{Document, Interval},
        json, table,
        units::duration,
        words,
    },
    snapshot::Snapshot,
    view::View,
};
use anyhow::Result;
use std::io::Write;

/// Prints figures to one place, in one format.
pub struct Printer<'a> {
    pub show: &'a Show,
    pub out: Box<dyn Write>,
}

impl Printer<'_> {
    /// Prints what precedes all figures.
    pub fn begin(&mut self) -> Result<()> {
        match self.show.format {
            Format::Csv => csv::head::<Interval>(&mut self.out),
            _ => Ok(()),
        }
    }

    /// Prints `delta`. `what` says when it was counted; this ended after `end` seconds.
    pub fn print(&mut self, delta: &Snapshot, what: &str, end: Option<f64>) -> Result<View> {
        let selection = &self.show.selection;
        let view = View::new(delta, selection)?;
        let document = Document::new(delta, &view, None);
        match self.show.format {
            Format::Table => {
                let unit = self.show.unit(delta);
                let whose = words::head(delta, selection, unit);
                let lasted = delta.seconds().map(|seconds| duration(seconds) + ", ");
                let lasted = lasted.unwrap_or_default();
                writeln!(self.out, "{whose}\n{lasted}{what}\n")?;
                table::view(&view, selection, unit, table::width(), &mut self.out)?;
                writeln!(self.out)?;
            }
            Format::Json => json::write(&Interval { document, end }, &mut self.out)?,
            Format::Csv => csv::rows(&Interval { document, end }, &mut self.out)?,
        }
        self.out.flush()?;
        Ok(view)
    }

    /// Prints what the table of an interval does not say.
    pub fn note(&mut self, view: &View) -> Result<()> {
        if let Some(words) = words::untimed(view).filter(|_| self.show.format == Format::Table) {
            writeln!(self.out, "{words}\n")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints the summary of all intervals.
    pub fn sum_up(&mut self, delta: &Snapshot, rates: &[(f64, f64)]) -> Result<()> {
        if self.show.format != Format::Table {
            return Ok(());
        }
        let view = View::new(delta, &self.show.selection)?;
        let unit = self.show.unit(delta);
        let ranking = words::ranking(&view, &self.show.selection, unit);
        let total = words::total(&view, delta, unit);
        let rate = words::rate(view.selected.exits, delta);
        let notes = words::difference_notes(delta).into_iter();
        let lines = notes.chain(ranking).chain(words::untimed(&view));
        for line in lines.chain([total, rate]) {
            writeln!(self.out, "{line}")?;
        }
        if let Some(stability) = Stability::new(rates) {
            writeln!(self.out, "{}", words::stability(&stability))?;
        }
        self.out.flush()?;
        Ok(())
    }
}
