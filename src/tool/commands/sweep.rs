// SPDX-License-Identifier: GPL-2.0

//! `exitprof sweep`: what the leaves answer, one by one.

use crate::{
    reasons,
    source::guest::{Cpuid, Instruction},
};
use anyhow::{Result, bail};
use profile::{
    isa::Isa,
    leaf::{self, Answer, Protocol, Query},
    reason::Status,
    table::TableRow,
};
use std::io::Write;

/// What `exitprof sweep` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Show reasons without an exit, too
    #[arg(long)]
    all: bool,
}

/// What the host answers; `None` if the leaf is not the profiler's.
fn ask(eax: u32, ecx: u32) -> Option<Answer> {
    Some(Query::new(eax, ecx)?.decode(Instruction.cpuid(eax, ecx)))
}

/// The exits and cycles of `reason`, `None` if the host does not know it. Each
/// question is an exit of its own, so cycles are asked for where there are some.
fn read(reason: u32) -> Option<(u64, u64)> {
    match ask(leaf::EXITS, reason)? {
        Answer::Exits(0) => Some((0, 0)),
        Answer::Exits(exits) => match ask(leaf::CYCLES, reason)? {
            Answer::Cycles(cycles) => Some((exits, cycles)),
            _ => None,
        },
        _ => None,
    }
}

/// Prints the leaves' answers as a table.
///
/// # Errors
///
/// If the profiler does not answer, or `out` takes nothing.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let all = arguments.all;
    if Instruction.cpuid(leaf::DISCOVERY, 0) != leaf::PRESENT {
        bail!(
            "leaf {:#x} is not answered by kvm_exitprof: run this in a guest of a host that has it loaded",
            leaf::DISCOVERY
        );
    }
    let number = Protocol::from(Instruction.cpuid(leaf::PROTOCOL, 0)).isa;
    let Some(isa) = Isa::from_number(number) else {
        bail!(
            "the host's instruction set is number {number}, and this exitprof knows only VMX (1) and SVM (2)"
        );
    };

    writeln!(out, "{}", TableRow::HEAD)?;
    for reason in reasons::all(isa) {
        let (number, name) = (isa.number(reason), isa.name(reason));
        match (read(reason), isa.status(reason)) {
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
    if let Some(Answer::Both(exits, cycles)) = ask(leaf::HIDDEN, 0) {
        if all || exits > 0 {
            writeln!(out, "{}", TableRow("hidden", "", exits, cycles))?;
        }
    }
    Ok(())
}
