// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat -- COMMAND`: what was counted while a command ran.

use super::{printer::Printer, restart::difference};
use crate::{
    commands::{
        signals::{Signals, stop},
        tell::{is_broken_pipe, tell},
    },
    snapshot::Snapshot,
    source::Source,
};
use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{
    SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2,
};
use std::{
    ffi::{OsStr, OsString},
    io::ErrorKind,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus},
};

/// What is for the command. The kernel sends what keys cause to both.
const FORWARDED: [(i32, Signal); 8] = [
    (SIGHUP, Signal::HUP),
    (SIGINT, Signal::INT),
    (SIGQUIT, Signal::QUIT),
    (SIGTERM, Signal::TERM),
    (SIGUSR1, Signal::USR1),
    (SIGUSR2, Signal::USR2),
    (SIGTSTP, Signal::TSTP),
    (SIGCONT, Signal::CONT),
];

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
    let name = Path::new(program);
    let mut signals =
        Signals::listen(&[&FORWARDED.map(|(number, _)| number)[..], &[SIGCHLD]].concat())?;
    let mut child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => child,
        Err(e) => {
            tell(format_args!("{}: {e}", name.display()));
            let not_found = e.kind() == ErrorKind::NotFound;
            return Ok(ExitCode::from(if not_found { 127 } else { 126 }));
        }
    };
    let status = wait(&mut child, &mut signals)?;
    match source.read().and_then(|now| difference(&now, first)) {
        Ok(delta) => {
            let what = format!("while {} ran", name.display());
            match print(&delta, &what, printer) {
                Err(e) if status.success() => return Err(e),
                // Nobody is left to read it.
                Err(e) if is_broken_pipe(&e) => (),
                Err(e) => tell(format_args!("{e:#}")),
                Ok(()) => (),
            }
        }
        // The command is not to blame.
        Err(e) => tell(format_args!("{e:#}")),
    }
    Ok(exit_code(status))
}

fn print(delta: &Snapshot, what: &str, printer: &mut Printer<'_>) -> Result<()> {
    printer.begin()?;
    printer.print(delta, what, delta.seconds())?;
    printer.sum_up(delta, &[])
}

/// Waits until the command ends, and forwards signals until then.
fn wait(child: &mut Child, signals: &mut Signals) -> Result<ExitStatus> {
    let pid = Pid::from_child(child);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let (came, _) = signals.wait(&[], None)?;
        for (number, signal) in FORWARDED {
            if came.contains(&number) && !signals.is_from_terminal(number) {
                // It exists, because its status has not been taken yet.
                let _ = kill_process(pid, signal);
            }
        }
        if came.contains(&SIGTSTP) {
            stop();
        }
    }
}

/// A command's exit status; if a signal ended it, 128 plus its number, as in shells.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    ExitCode::from(code as u8) // As wait() truncates it.
}
