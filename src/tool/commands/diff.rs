// SPDX-License-Identifier: GPL-2.0

//! `exitprof diff`: which reasons changed between two recordings.

use crate::{
    comparison::Comparison,
    render::{Format, changes, csv, json},
    source::file,
};
use anyhow::Result;
use std::{io::Write, path::PathBuf};

/// Arguments of `exitprof diff`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The earlier recording
    a: PathBuf,
    /// The later recording
    b: PathBuf,
    /// Only the N reasons that changed most
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Show cycles, even if the frequencies of the TSCs are known
    #[arg(long)]
    cycles: bool,
}

/// Prints the changes.
///
/// # Errors
///
/// If the recordings cannot be read or compared.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let a = file::read(&arguments.a)?;
    let b = file::read(&arguments.b)?;
    let mut comparison = Comparison::new(&a, b, arguments.cycles)?;
    let top = arguments.top.unwrap_or(usize::MAX);
    if arguments.format != Format::Table {
        comparison.rows.truncate(top);
    }
    match arguments.format {
        // It sums up all reasons, not only the first.
        Format::Table => changes::print(&comparison, top, out)?,
        Format::Json => json::write(&comparison, out)?,
        Format::Csv => csv::write(&comparison, out)?,
    }
    Ok(())
}
