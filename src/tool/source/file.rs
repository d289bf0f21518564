// SPDX-License-Identifier: GPL-2.0

//! Recordings.

use crate::snapshot::Snapshot;
use anyhow::{Context, Result, bail};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The longest recording that is read. A vCPU takes 10 kB of it.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a recording; `-` is the standard input.
///
/// # Errors
///
/// If the file cannot be read, or holds something else.
pub fn read(path: &Path) -> Result<Snapshot> {
    let read = || {
        let mut text = String::new();
        let mut file: Box<dyn Read> = match path.to_str() {
            Some("-") => Box::new(io::stdin()),
            _ => Box::new(File::open(path)?),
        };
        let read = file.by_ref().take(MAX_BYTES).read_to_string(&mut text)?;
        if read as u64 == MAX_BYTES {
            bail!("too long for a recording");
        }
        Snapshot::from_file(&text)
    };
    read().with_context(|| path.display().to_string())
}
