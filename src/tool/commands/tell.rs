// SPDX-License-Identifier: GPL-2.0

//! Messages.

use std::{fmt::Display, io::Write};

/// Writes a message to the standard error. If that is closed, nobody reads it.
pub fn tell(message: impl Display) {
    let _ = writeln!(anstream::stderr(), "exitprof: {message}");
}
