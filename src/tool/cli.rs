// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::{
    source::{Choice, Source},
    sweep,
};
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{io, process::ExitCode};

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
    let _find = || Source::find(choice);
    match arguments.command {
        Command::Sweep(arguments) => sweep::run(&arguments, &mut io::stdout().lock())?,
    }
    Ok(ExitCode::SUCCESS)
}
