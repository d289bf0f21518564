// SPDX-License-Identifier: GPL-2.0

//! `exitprof record`: saves what was counted so far.

use crate::source::{Choice, Source};
use anyhow::{Context, Result};
use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Arguments of `exitprof record`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Output file (JSON); - is the standard output
    file: PathBuf,
    #[command(flatten)]
    choice: Choice,
}

/// Saves a snapshot. A file is replaced as a whole, or stays as it was.
///
/// # Errors
///
/// If there is nothing to read, or the file cannot be written.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let snapshot = Source::find(&arguments.choice)?.read()?;
    let mut text = serde_json::to_string(&snapshot)?;
    text.push('\n');
    let file = &arguments.file;
    if file == Path::new("-") {
        out.write_all(text.as_bytes())?;
        return Ok(());
    }
    let replace = || {
        // A pipe or the like cannot be replaced.
        if file.exists() && !file.is_file() {
            return Ok(fs::write(file, &text)?);
        }
        // On the same file system, so that it can be renamed.
        let dir = match file.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        let mut temporary = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o666)) // Less the umask.
            .tempfile_in(dir)?;
        temporary.write_all(text.as_bytes())?;
        temporary.as_file().sync_all()?;
        temporary.persist(file)?;
        Ok::<_, anyhow::Error>(())
    };
    replace().with_context(|| file.display().to_string())
}
