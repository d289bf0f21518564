// SPDX-License-Identifier: GPL-2.0

//! `exitprof sweep`: what the leaves of each reason answer.

use super::show::Output;
use crate::{
    render::{Format, sweep, table},
    source::leaves::{Cpuid, Instruction, LeafReader},
};
use anyhow::Result;
use profile::{query::When, reason::Status};
use std::io::Write;
use sweep::Swept;

/// Arguments of `exitprof sweep`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Include reasons with no exits
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
}

/// Prints the answers as a table.
///
/// # Errors
///
/// As of [`print`].
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let mut leaves = LeafReader::new(Instruction);
    print(&mut leaves, arguments.all, arguments.output.format(), out)
}

/// Prints what `leaves` answers for the reasons with exits, or for all reasons.
///
/// # Errors
///
/// If there is no profiler, or `out` cannot be written.
pub fn print(
    leaves: &mut LeafReader<impl Cpuid>,
    all: bool,
    format: Format,
    out: &mut impl Write,
) -> Result<()> {
    let (protocol, isa, _) = leaves.protocol()?;
    let mut rows: Vec<Swept> = leaves
        .reasons(isa, protocol, When::Now, |_| true)
        .into_iter()
        .map(|answer| Swept {
            reason: Some(answer.reason),
            number: isa.number(answer.reason).to_string(),
            name: isa.name(answer.reason).to_string(),
            status: match (answer.counted, answer.status) {
                (None, _) => "undefined",
                (_, Status::Unhandled) => "not handled",
                _ => "handled",
            },
            counted: answer
                .counted
                .filter(|_| answer.status != Status::Unhandled),
        })
        .collect();
    if let Some(counted) = leaves.hidden(When::Now) {
        rows.push(Swept {
            reason: None,
            number: "hidden".into(),
            name: "hidden".into(),
            status: "hidden",
            counted: Some(counted),
        });
    }
    let has_exits = |row: &Swept| row.counted.is_some_and(|(exits, _)| exits > 0);
    rows.retain(|row| all || has_exits(row));
    match format {
        // As in the host's log.
        Format::Table => Ok(sweep::table(&rows, out)?),
        _ => {
            let facts = sweep::Facts::new(isa);
            let grid = sweep::grid(&rows);
            let sheet = sweep::sheet(&grid, &facts, table::width());
            format.exporter().sheet(&sheet, out)
        }
    }
}
