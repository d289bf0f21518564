// SPDX-License-Identifier: GPL-2.0

//! `exitprof diff`: which reasons changed between two recordings.

use crate::{
    comparison::Comparison,
    render::{
        Format, changes, facts,
        sheet::{Look, Sheet},
        table,
    },
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
    let comparison = Comparison::new(&a, b, arguments.cycles)?;
    let top = arguments.top.unwrap_or(usize::MAX);
    let sheet = Sheet {
        facts: &facts::Diff::new(&comparison),
        grid: &changes::grid(&comparison, top),
        shown: changes::shown(&comparison),
        look: Look {
            times: changes::times(&comparison),
            width: table::width(),
            bar: None,
        },
        title: changes::title(&comparison),
        notes: changes::notes(&comparison, top),
    };
    arguments.format.exporter().sheet(&sheet, out)
}
