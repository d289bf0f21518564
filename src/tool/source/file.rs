// SPDX-License-Identifier: GPL-2.0

//! Recordings in files.

use crate::recording::Recording;
use anyhow::{Context, Result, ensure};
use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
};

/// The longest recording that is read from a pipe.
const MAX_BYTES: u64 = 1 << 30;

/// Opens a recording; `-` is the standard input.
///
/// # Errors
///
/// If the file cannot be read, or holds something else.
pub fn open(path: &Path) -> Result<Recording> {
    let open = || match path.to_str() {
        Some("-") => piped(io::stdin()),
        _ => {
            let file = File::open(path)?;
            match file.metadata()?.is_file() {
                true => Recording::new(file),
                false => piped(file),
            }
        }
    };
    open().with_context(|| path.display().to_string())
}

/// Reads a recording from what cannot be read again.
fn piped(pipe: impl Read) -> Result<Recording> {
    let mut bytes = Vec::new();
    let read = pipe.take(MAX_BYTES).read_to_end(&mut bytes)?;
    ensure!((read as u64) < MAX_BYTES, "too long for a recording");
    Recording::new(Cursor::new(bytes))
}
