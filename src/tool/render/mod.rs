// SPDX-License-Identifier: GPL-2.0

//! How figures are shown: as tables and words to people, as JSON and CSV to programs.

pub mod changes;
pub mod csv;
pub mod document;
pub mod json;
pub mod table;
pub mod units;
pub mod words;

use clap::ValueEnum;
use serde::Serialize;

/// How figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: see exitprof schema
    Json,
    /// For spreadsheets: see exitprof schema
    Csv,
}

/// What programs read: JSON has all of it, CSV its rows.
pub trait Export: Serialize {
    /// The names of CSV's columns.
    fn columns() -> Vec<String>;

    /// The fields of each row, one for each column.
    fn records(&self) -> Vec<Vec<String>>;
}
