// SPDX-License-Identifier: GPL-2.0

//! A command that runs while exits are counted.

use super::{
    signals::{Signals, stop},
    tell::{is_broken_pipe, tell},
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
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
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

/// Whether no command runs. Then signals end this process, as by default: what is left to do may
/// have to wait for a disk or a reader.
static ALONE: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(true.into()));

/// What is done at intervals while a command runs.
pub struct Every<'a> {
    /// How long the intervals are.
    pub interval: Duration,
    /// What is done at the end of each.
    pub what: &'a mut dyn FnMut(),
}

/// Runs a command to its end. If it cannot be run, says so, and returns its exit status.
///
/// # Errors
///
/// If signals cannot be handled.
pub fn run(
    program: &OsStr,
    arguments: &[OsString],
    every: Option<Every<'_>>,
) -> Result<Result<ExitStatus, ExitCode>> {
    let mut signals =
        Signals::listen(&[&FORWARDED.map(|(number, _)| number)[..], &[SIGCHLD]].concat())?;
    signals.end_if(&ALONE, &[SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    ALONE.store(false, Relaxed);
    let child = Command::new(program).args(arguments).spawn();
    let status = child.map(|mut child| wait(&mut child, &mut signals, every));
    ALONE.store(true, Relaxed);
    match status {
        Ok(status) => status.map(Ok),
        Err(e) => {
            tell(format_args!("{}: {e}", Path::new(program).display()));
            let not_found = e.kind() == ErrorKind::NotFound;
            Ok(Err(ExitCode::from(if not_found { 127 } else { 126 })))
        }
    }
}

/// The exit status after a command has ended, and what was counted meanwhile was `written`,
/// or not: the command is not to blame for that.
///
/// # Errors
///
/// If the command succeeded, but the rest did not.
pub fn ended(status: ExitStatus, written: Result<()>) -> Result<ExitCode> {
    match written {
        Err(e) if status.success() => return Err(e),
        // Nobody is left to read it.
        Err(e) if is_broken_pipe(&e) => (),
        Err(e) => tell(format_args!("{e:#}")),
        Ok(()) => (),
    }
    Ok(exit_code(status))
}

/// Waits until the command ends, and forwards signals until then.
fn wait(
    child: &mut Child,
    signals: &mut Signals,
    mut every: Option<Every<'_>>,
) -> Result<ExitStatus> {
    let pid = Pid::from_child(child);
    let mut begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        let end = every.as_ref().map(|every| begin + every.interval);
        let (came, _) = signals.wait(&[], end)?;
        if let Some(every) = every.as_mut().filter(|_| end <= Some(Instant::now())) {
            (every.what)();
            // Ends that passed meanwhile are left out.
            begin = end.map_or(begin, |end| end.max(Instant::now() - every.interval));
        }
        for (number, signal) in FORWARDED {
            // Of a terminal's hangup, the kernel tells only the leader of the session.
            let has_it = number != SIGHUP && signals.is_from_terminal(number);
            if came.contains(&number) && !has_it {
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
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    ExitCode::from(code as u8) // As wait() truncates it.
}
