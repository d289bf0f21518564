// SPDX-License-Identifier: GPL-2.0

//! `exitprof sweep`: what the leaves of each reason answer.

use crate::{
    reasons,
    source::leaves::{Cpuid, Instruction, LeafReader},
};
use anyhow::Result;
use profile::{
    query::When,
    reason::{Kernel, Status},
    table::TableRow,
};
use std::io::Write;

/// Arguments of `exitprof sweep`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Include reasons with no exits
    #[arg(long)]
    all: bool,
}

/// Prints the answers as a table.
///
/// # Errors
///
/// As of [`print`].
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    print(&mut LeafReader::new(Instruction), arguments.all, out)
}

/// Prints what `leaves` answers for the reasons with exits, or for all reasons.
///
/// # Errors
///
/// If there is no profiler, or `out` cannot be written.
pub fn print(leaves: &mut LeafReader<impl Cpuid>, all: bool, out: &mut impl Write) -> Result<()> {
    let (protocol, isa, _) = leaves.protocol()?;
    let kernel = Kernel::from_number(protocol.kernel);
    writeln!(out, "{}", TableRow::HEAD)?;
    for reason in reasons::all(isa) {
        let (number, name) = (isa.number(reason), isa.name(reason));
        match (leaves.reason(When::Now, reason), isa.status(kernel, reason)) {
            (None, _) if all => writeln!(out, "{}", TableRow(number, name, "undefined", ""))?,
            (Some(_), Status::Unhandled) if all => {
                writeln!(out, "{}", TableRow(number, name, "not handled", ""))?
            }
            (Some((exits, cycles)), _) if all || exits > 0 => {
                writeln!(out, "{}", TableRow(number, name, exits, cycles))?
            }
            _ => (),
        }
    }
    if let Some((exits, cycles)) = leaves
        .hidden(When::Now)
        .filter(|&(exits, _)| all || exits > 0)
    {
        writeln!(out, "{}", TableRow("hidden", "", exits, cycles))?;
    }
    Ok(())
}
