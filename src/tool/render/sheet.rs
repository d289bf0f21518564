// SPDX-License-Identifier: GPL-2.0

//! A table, and what is to be said of it; and what writes that in some format.

use super::{grid::Grid, units::Unit};
use crate::{select::Selection, snapshot::Snapshot};
use anyhow::Result;
use std::io::Write;

/// What writes a format.
pub trait Exporter {
    /// Whether it has words, too.
    fn is_for_people(&self) -> bool {
        false
    }

    /// Writes what precedes all sheets with such a grid.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    fn begin(&mut self, _grid: &dyn Grid, _out: &mut dyn Write) -> Result<()> {
        Ok(())
    }

    /// Writes lines for people whose blanks matter.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    fn block(&mut self, lines: &[String], out: &mut dyn Write) -> Result<()> {
        self.say(lines, out)
    }

    /// Goes on where something has been written before.
    fn go_on(&mut self) {}

    /// Writes a sheet.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    fn sheet(&mut self, sheet: &Sheet<'_>, out: &mut dyn Write) -> Result<()>;

    /// Writes lines for people.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    fn say(&mut self, _lines: &[String], _out: &mut dyn Write) -> Result<()> {
        Ok(())
    }
}

/// A table, and what is to be said of it.
pub struct Sheet<'a> {
    /// What is known of the whole, for programs.
    pub facts: &'a dyn erased_serde::Serialize,
    /// What was read, and what was selected of it, if the table is of one snapshot.
    pub reading: Option<(&'a Snapshot, &'a Selection)>,
    /// The table.
    pub grid: &'a dyn Grid,
    /// The columns for people, from left to right.
    pub shown: Vec<Shown>,
    /// How people see it.
    pub look: Look,
    /// What people read in place of a table without rows, if anything.
    pub instead: Option<&'static str>,
    /// The lines above the table.
    pub title: Vec<String>,
    /// The lines below the table.
    pub notes: Vec<String>,
}

/// What people read if there are no rows; nothing if they asked for none.
pub fn instead(top: Option<usize>) -> Option<&'static str> {
    (top != Some(0)).then_some("No exits.")
}

/// A column for people.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which column of the grid it is.
    pub column: usize,
    /// The heading.
    pub label: String,
    /// The heading above that, which neighbours may share.
    pub over: String,
    /// How much it is needed: what has the lowest number is left out first, if there is no
    /// room. With [`u8::MAX`], it always stays.
    pub need: u8,
}

/// How people see a table.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The unit of times.
    pub times: Times,
    /// How many columns the terminal has.
    pub width: usize,
    /// The column of percentages that bars show.
    pub bar: Option<usize>,
}

/// The unit of the times in a table.
#[derive(Clone, Copy, Debug)]
pub enum Times {
    /// Cycles, to be shown in this unit.
    Of(Unit),
    /// They are nanoseconds.
    Nanoseconds,
}
