// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::{report, source::Choice, sweep};
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Shows which VM exits KVM has handled, and what they cost: on a host, and in its guests
#[derive(Debug, Parser)]
#[command(version, max_term_width = 80)]
pub struct Arguments {
    /// Where to read.
    #[command(flatten)]
    choice: Choice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what was counted so far, and what it means
    Report(report::Arguments),
    /// Ask the host for the exits and cycles of every exit reason
    Sweep(sweep::Arguments),
}

/// Does what was asked for.
///
/// # Errors
///
/// If it cannot be done: says why, and what to do.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let choice = &arguments.choice;
    let mut out = anstream::stdout().lock();
    match arguments.command {
        Command::Report(arguments) => report::run(&arguments, choice, &mut out)?,
        Command::Sweep(arguments) => sweep::run(&arguments, &mut out)?,
    }
    Ok(ExitCode::SUCCESS)
}
