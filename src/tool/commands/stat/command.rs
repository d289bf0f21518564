// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat -- COMMAND`: what was counted while a command ran.

use super::{printer::Printer, restart::difference};
use crate::{commands::interrupt::Interrupt, snapshot::Snapshot, source::Source};
use anstream::eprintln;
use anyhow::Result;
use std::{
    ffi::{OsStr, OsString},
    io::ErrorKind,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitCode, ExitStatus},
};

/// Runs a command, and returns its exit status.
///
/// # Errors
///
/// If the output cannot be written.
pub fn run(
    program: &OsStr,
    arguments: &[OsString],
    source: &mut Source,
    first: &Snapshot,
    printer: &mut Printer<'_>,
) -> Result<ExitCode> {
    let name = Path::new(program);
    // Ctrl-C is for the command.
    let _interrupt = Interrupt::listen()?;
    let status = match Command::new(program).args(arguments).status() {
        Ok(status) => status,
        Err(e) => {
            eprintln!("exitprof: {}: {e}", name.display());
            let not_found = e.kind() == ErrorKind::NotFound;
            return Ok(ExitCode::from(if not_found { 127 } else { 126 }));
        }
    };
    match source.read().and_then(|now| difference(&now, first)) {
        Ok(delta) => {
            printer.begin()?;
            let what = format!("while {} ran", name.display());
            printer.print(&delta, &what, delta.seconds())?;
            printer.sum_up(&delta, &[])?;
        }
        // The command is not to blame.
        Err(e) => eprintln!("exitprof: {e:#}"),
    }
    Ok(exit_code(status))
}

/// A command's exit status; if a signal ended it, 128 plus its number, as in shells.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    ExitCode::from(code as u8) // As wait() truncates it.
}
