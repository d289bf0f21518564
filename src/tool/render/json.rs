// SPDX-License-Identifier: GPL-2.0

//! JSON: one line for each export.

use super::Export;
use anyhow::Result;
use serde::Serialize;
use std::io::Write;

/// The version of what is printed as JSON.
const VERSION: u32 = 2;

#[derive(Serialize)]
struct Versioned<'a, E> {
    version: u32,
    #[serde(flatten)]
    export: &'a E,
}

/// Prints `export` in one line.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn write(export: &impl Export, out: &mut impl Write) -> Result<()> {
    let versioned = Versioned {
        version: VERSION,
        export,
    };
    writeln!(out, "{}", serde_json::to_string(&versioned)?)?;
    Ok(())
}
