// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows VM exits and what they cost.

use clap::Parser;
use exitprof::{
    cli::{self, Arguments},
    commands::tell::tell,
};
use std::{
    io::{self, ErrorKind},
    process::ExitCode,
};

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

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == ErrorKind::BrokenPipe)
}
