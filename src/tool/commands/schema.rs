// SPDX-License-Identifier: GPL-2.0

//! `exitprof schema`: describes the JSON and CSV formats.

use crate::render::schema;
use anyhow::Result;
use std::io::Write;

/// Prints a JSON Schema.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn run(out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}", serde_json::to_string_pretty(&schema::schema())?)?;
    Ok(())
}
