// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat -- COMMAND`: what was counted while a command ran.

use super::printer::Printer;
use crate::{
    commands::{child, restart::difference, tell::tell},
    snapshot::Snapshot,
    source::Source,
};
use anyhow::Result;
use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
};

/// Runs a command, and returns its exit status.
///
/// # Errors
///
/// If the command succeeds, but the output cannot be written.
pub fn run(
    program: &OsStr,
    arguments: &[OsString],
    source: &mut Source,
    first: &Snapshot,
    printer: &mut Printer<'_>,
) -> Result<ExitCode> {
    let status = match child::run(program, arguments, None)? {
        Ok(status) => status,
        Err(code) => return Ok(code),
    };
    let written = match source.read().and_then(|now| difference(&now, first)) {
        Ok(delta) => {
            let what = format!("while {} ran", Path::new(program).display());
            print(&delta, &what, printer)
        }
        Err(e) => {
            tell(format_args!("{e:#}"));
            Ok(())
        }
    };
    child::ended(status, written)
}

fn print(delta: &Snapshot, what: &str, printer: &mut Printer<'_>) -> Result<()> {
    printer.begin()?;
    printer.print(delta, what, delta.seconds())?;
    printer.sum_up(delta, &[])
}
