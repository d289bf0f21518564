// SPDX-License-Identifier: GPL-2.0

//! What was recorded in a file.

use crate::snapshot::Snapshot;
use anyhow::{Context, Result, bail};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// No snapshot is longer: on a host, one vCPU's takes 10 kB.
const MAX_BYTES: u64 = 1 << 30;

/// The snapshot in a file; `-` is the standard input.
///
/// # Errors
///
/// If there is no file, or it holds something else.
pub fn read(path: &Path) -> Result<Snapshot> {
    let read = || {
        let mut text = String::new();
        let mut file: Box<dyn Read> = match path.to_str() {
            Some("-") => Box::new(io::stdin()),
            _ => Box::new(File::open(path)?),
        };
        let read = file.by_ref().take(MAX_BYTES).read_to_string(&mut text)?;
        if read as u64 == MAX_BYTES {
            bail!("it is too long for a snapshot");
        }
        Snapshot::from_file(&text)
    };
    read().with_context(|| path.display().to_string())
}
