// SPDX-License-Identifier: GPL-2.0

//! How figures are shown: as tables and words to people, as JSON and CSV to programs.

pub mod output;
pub mod table;
pub mod units;
pub mod words;

use clap::ValueEnum;

/// How figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: see exitprof schema
    Json,
    /// For spreadsheets: see exitprof schema
    Csv,
}
