// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows VM exits and what they cost.

use clap::Parser;
use exitprof::{
    cli::{self, Arguments},
    commands::tell::{is_broken_pipe, tell},
};
use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => return printed(&e),
    };
    match cli::run(arguments) {
        Ok(code) => code,
        // The reader of our output has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            tell(format_args!("{e:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints the help, or what is wrong with the command line.
fn printed(text: &clap::Error) -> ExitCode {
    match text.print().and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe && !text.use_stderr() => {
            tell(format_args!("{e}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::from(text.exit_code() as u8),
    }
}
