// SPDX-License-Identifier: GPL-2.0

//! Writes JSON, one line for each export.

use super::Export;
use anyhow::Result;
use serde::Serialize;
use std::io::Write;

/// The version of the format.
const VERSION: u32 = 3;

#[derive(Serialize)]
struct Versioned<'a, E> {
    version: u32,
    #[serde(flatten)]
    export: &'a E,
}

/// Writes `export` as a line.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn write(export: &impl Export, out: &mut impl Write) -> Result<()> {
    let versioned = Versioned {
        version: VERSION,
        export,
    };
    writeln!(out, "{}", serde_json::to_string(&versioned)?)?;
    Ok(())
}
