// SPDX-License-Identifier: GPL-2.0

//! `exitprof sweep`: what the leaves answer, one by one.

use crate::{
    reasons,
    source::leaves::{Cpuid, Instruction, LeafReader},
};
use anyhow::Result;
use profile::{leaf::When, reason::Status, table::TableRow};
use std::io::Write;

/// What `exitprof sweep` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Show reasons without an exit, too
    #[arg(long)]
    all: bool,
}

/// Prints the leaves' answers as a table.
///
/// # Errors
///
/// If the profiler does not answer, or `out` takes nothing.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    print(&mut LeafReader::new(Instruction), arguments.all, out)
}

/// Prints what `leaves` answers, of all reasons if `all` says so.
///
/// # Errors
///
/// If the profiler does not answer, or `out` takes nothing.
pub fn print(leaves: &mut LeafReader<impl Cpuid>, all: bool, out: &mut impl Write) -> Result<()> {
    let (_, isa, _) = leaves.protocol()?;
    writeln!(out, "{}", TableRow::HEAD)?;
    for reason in reasons::all(isa) {
        let (number, name) = (isa.number(reason), isa.name(reason));
        match (leaves.reason(When::Now, reason), isa.status(reason)) {
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
