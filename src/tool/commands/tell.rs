// SPDX-License-Identifier: GPL-2.0

//! Messages.

use anyhow::Error;
use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Writes a message to the standard error. If that is closed, nobody reads it.
pub fn tell(message: impl Display) {
    let _ = writeln!(anstream::stderr(), "exitprof: {message}");
}

/// Whether the reader of our output has closed it.
pub fn is_broken_pipe(e: &Error) -> bool {
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|e| e.kind() == ErrorKind::BrokenPipe)
}
