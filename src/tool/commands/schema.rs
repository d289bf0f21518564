// SPDX-License-Identifier: GPL-2.0

//! `exitprof schema`: describes JSON and CSV.

use std::io::{self, Write};

/// What `exitprof schema` and its man page say.
pub const SCHEMA: &str = include_str!("schema.txt");

/// Prints the description.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn run(out: &mut impl Write) -> io::Result<()> {
    out.write_all(SCHEMA.as_bytes())
}
