// SPDX-License-Identifier: GPL-2.0

//! `exitprof record`: saves what was counted so far, or in a period.

use super::{child, clock::Clock, restart::difference, seconds::seconds};
use crate::{
    snapshot::{Period, Snapshot},
    source::{Choice, Need, Source},
};
use anyhow::{Context, Result};
use std::{
    ffi::OsString,
    fs::{self, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Arguments of `exitprof record`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Output file (JSON); - is the standard output
    file: PathBuf,
    /// Record only what is counted in the next SECONDS, or until Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    time: Option<Duration>,
    /// Record only what is counted while COMMAND runs, and exit with its status
    #[arg(last = true, conflicts_with = "time")]
    command: Vec<OsString>,
    #[command(flatten)]
    choice: Choice,
}

/// Saves a snapshot, or what is counted in a period. A file with one name is replaced as a
/// whole, or stays as it was.
///
/// # Errors
///
/// If there is nothing to read, or the file cannot be written.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode> {
    let need = match arguments.time.is_some() || !arguments.command.is_empty() {
        true => Need::FromNow,
        false => Need::SoFar,
    };
    let mut source = Source::find(&arguments.choice, need)?;
    let first = source.read()?;
    let file = &arguments.file;
    if let [program, rest @ ..] = arguments.command.as_slice() {
        check(file).with_context(|| file.display().to_string())?;
        let status = match child::run(program, rest)? {
            Ok(status) => status,
            Err(code) => return Ok(code),
        };
        let words = arguments.command.iter().map(|word| word.to_string_lossy());
        let command = Some(words.collect::<Vec<_>>().join(" "));
        let written = period(&mut source, &first, command).and_then(|s| save(&s, file, out));
        return child::ended(status, written);
    }
    let snapshot = match arguments.time {
        None => first,
        Some(time) => {
            check(file).with_context(|| file.display().to_string())?;
            wait(&mut source, &first, time)?
        }
    };
    save(&snapshot, file, out)?;
    Ok(ExitCode::SUCCESS)
}

/// What is counted after `first` in so much time, or until Ctrl-C.
///
/// # Errors
///
/// If it cannot be read, or it is not known what was counted.
pub fn wait(source: &mut Source, first: &Snapshot, time: Duration) -> Result<Snapshot> {
    Clock::start()?.wait(Some(Instant::now() + time))?;
    period(source, first, None)
}

/// What was counted since `first`.
fn period(source: &mut Source, first: &Snapshot, command: Option<String>) -> Result<Snapshot> {
    Ok(Snapshot {
        period: Some(Period { command }),
        ..difference(&source.read()?, first)?
    })
}

fn save(snapshot: &Snapshot, file: &Path, out: &mut impl Write) -> Result<()> {
    let mut text = serde_json::to_string(snapshot)?;
    text.push('\n');
    if file == Path::new("-") {
        out.write_all(text.as_bytes())?;
        return Ok(out.flush()?);
    }
    write(file, text.as_bytes()).with_context(|| file.display().to_string())
}

/// Checks that a file can probably be written, before time is spent on what belongs into it.
fn check(file: &Path) -> io::Result<()> {
    if file == Path::new("-") {
        return Ok(());
    }
    match fs::metadata(file) {
        Ok(meta) if meta.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(_) => plain(file).map(drop),
        // It can be made, if any other can be made there.
        Err(_) => match followed(file)? {
            Some(path) => tempfile::tempfile_in(dir(&path)).map(drop),
            None => Ok(()),
        },
    }
}

/// The directory that a file is in.
fn dir(file: &Path) -> &Path {
    let parent = file.parent().filter(|dir| *dir != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// Replaces the file as a whole, with its mode and owner, if it is an ordinary one. What has
/// other names, or is a device or pipe, is written in place.
fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let target = match plain(file)? {
        Some(target) => target,
        None => return fs::write(file, text),
    };
    // On the same file system, so that it can be renamed.
    let dir = dir(&target);
    let made = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666)) // Less the umask.
        .tempfile_in(dir);
    let Ok(mut temporary) = made else {
        return fs::write(file, text);
    };
    if let Ok(old) = fs::metadata(&target) {
        let is_owned = |new: &Metadata| (new.uid(), new.gid()) == (old.uid(), old.gid());
        let chown = || chown(temporary.path(), Some(old.uid()), Some(old.gid()));
        if !is_owned(&temporary.as_file().metadata()?) && chown().is_err() {
            return fs::write(file, text);
        }
        temporary.as_file().set_permissions(old.permissions())?;
    }
    temporary.as_file_mut().write_all(text)?;
    temporary.as_file().sync_all()?;
    temporary.persist(target).map_err(|e| e.error)?;
    Ok(())
}

/// The path without symbolic links, if there is an ordinary file with this one name, or none.
///
/// # Errors
///
/// If the file may not be written.
fn plain(file: &Path) -> io::Result<Option<PathBuf>> {
    let Ok(link) = fs::symlink_metadata(file) else {
        return Ok(Some(file.into()));
    };
    if !link.is_symlink() && !link.is_file() {
        return Ok(None);
    }
    let Some(path) = followed(file)? else {
        return Ok(None);
    };
    let Ok(target) = fs::canonicalize(&path) else {
        return Ok(None);
    };
    let meta = fs::metadata(&target)?;
    if meta.is_file() {
        OpenOptions::new().write(true).open(&target)?;
    }
    Ok((meta.is_file() && meta.nlink() == 1).then_some(target))
}

/// The path without symbolic links at its end. `None` if one of them is in /proc: it is an open
/// file, which may have no name, or another.
///
/// # Errors
///
/// If there are too many links, or one leads nowhere.
fn followed(file: &Path) -> io::Result<Option<PathBuf>> {
    let mut path = file.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(next) = fs::read_link(&path) else {
            return Ok(Some(path));
        };
        if fs::canonicalize(dir(&path))?.starts_with("/proc") {
            return Ok(None);
        }
        path.pop();
        path.push(next);
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}
