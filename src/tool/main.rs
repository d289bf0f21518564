// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows VM exits and what they cost.

use clap::Parser;
use exitprof::{
    cli::{self, Arguments},
    commands::tell::{is_broken_pipe, tell},
};
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run(Arguments::parse()) {
        Ok(code) => code,
        // The reader of our output has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            tell(format_args!("{e:#}"));
            ExitCode::FAILURE
        }
    }
}
