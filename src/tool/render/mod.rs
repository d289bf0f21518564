// SPDX-License-Identifier: GPL-2.0

//! Shows figures: to people as tables and words, to programs as JSON and CSV.

pub mod changes;
pub mod csv;
pub mod document;
pub mod json;
pub mod table;
pub mod units;
pub mod words;

use clap::ValueEnum;
use serde::Serialize;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs (see exitprof schema)
    Json,
    /// For spreadsheets (see exitprof schema)
    Csv,
}

/// Something that programs read: in JSON all of it, in CSV its rows.
pub trait Export: Serialize {
    /// The names of the CSV columns.
    fn columns() -> Vec<String>;

    /// The rows, with a field for each column.
    fn records(&self) -> Vec<Vec<String>>;
}
