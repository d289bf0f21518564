// SPDX-License-Identifier: GPL-2.0

//! `exitprof schema`: describes the JSON and CSV formats.

use std::io::{self, Write};

/// The description, also in the man page.
pub const SCHEMA: &str = include_str!("schema.txt");

/// Prints the description.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn run(out: &mut impl Write) -> io::Result<()> {
    out.write_all(SCHEMA.as_bytes())
}
