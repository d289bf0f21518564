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
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Whether this process was started without a standard output.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before the standard library opens /dev/null in place of a closed standard output, which
/// would then seem to have been written. Puts /dev/full there, which cannot be.
extern "C" fn look_at_output() {
    // SAFETY: F_GETFD only looks at the descriptor. The path is a string with an end. There is
    // one thread, so the closed descriptor is not opened by another.
    unsafe {
        if libc::fcntl(1, libc::F_GETFD) == -1 {
            CLOSED.store(true, Relaxed);
            let full = libc::open(c"/dev/full".as_ptr(), libc::O_WRONLY);
            if full != -1 && full != 1 {
                libc::dup2(full, 1);
                libc::close(full);
            }
        }
    }
}

// SAFETY: The section has addresses of functions of that type, which run before main().
#[unsafe(link_section = ".init_array")]
#[used]
static LOOK_AT_OUTPUT: extern "C" fn() = look_at_output;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => return printed(&e),
    };
    match cli::run(arguments) {
        Ok(code) => code,
        // The reader of our output has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => failed(&e),
    }
}

/// Says why nothing more is done.
fn failed(e: &anyhow::Error) -> ExitCode {
    let mut causes = e
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    let is_full = causes.any(|e| e.kind() == ErrorKind::StorageFull);
    if is_full && CLOSED.load(Relaxed) {
        tell("the standard output is closed");
    } else {
        tell(format_args!("{e:#}"));
    }
    ExitCode::FAILURE
}

/// Prints the help, or what is wrong with the command line.
fn printed(text: &clap::Error) -> ExitCode {
    match text.print().and_then(|()| io::stdout().flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe && !text.use_stderr() => failed(&e.into()),
        _ => ExitCode::from(text.exit_code() as u8),
    }
}
