// SPDX-License-Identifier: GPL-2.0

//! Files that recordings are written to.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, ErrorKind, IsTerminal, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// What a loss of power may cost, besides what is being written.
const UNSAFE: Duration = Duration::from_secs(1);

/// A file that grows.
pub struct Output {
    out: Box<dyn Write>,
    /// The same file, if it is on a disk, and when it was last brought there.
    disk: Option<(File, Instant)>,
}

impl Output {
    /// Begins a file as [`replace`] does; `-` is the standard output.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn begin(file: &Path, contents: &[u8]) -> io::Result<Output> {
        if file == Path::new("-") {
            let mut out = Box::new(io::stdout());
            if out.is_terminal() {
                return Err(io::Error::other(
                    "a series is not for a terminal: name a file",
                ));
            }
            out.write_all(contents)?;
            out.flush()?;
            return Ok(Output { out, disk: None });
        }
        let file = replace(file, contents)?;
        let disk = match file.metadata()?.is_file() {
            true => Some((file.try_clone()?, Instant::now())),
            false => None,
        };
        let out = Box::new(file);
        Ok(Output { out, disk })
    }

    /// Appends `bytes`, and from time to time sees that they survive a loss of power.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()?;
        let is_due = |(_, last): &(File, Instant)| last.elapsed() >= UNSAFE;
        if self.disk.as_ref().is_some_and(is_due) {
            self.sync()?;
        }
        Ok(())
    }

    /// Sees that what was written survives a loss of power, if it is on a disk.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some((file, last)) = &mut self.disk {
            file.sync_data()?;
            *last = Instant::now();
        }
        Ok(())
    }
}

/// Checks that a file can probably be written, before time is spent on what belongs into it.
///
/// # Errors
///
/// If it cannot.
pub fn check(file: &Path) -> io::Result<()> {
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
/// other names, or is a device or pipe, is written in place. Returns the file, for what follows
/// `contents`.
///
/// # Errors
///
/// If it cannot be written.
pub fn replace(file: &Path, contents: &[u8]) -> io::Result<File> {
    let in_place = || {
        let mut file = File::create(file)?;
        file.write_all(contents)?;
        Ok(file)
    };
    let Some(target) = plain(file)? else {
        return in_place();
    };
    // On the same file system, so that it can be renamed.
    let dir = dir(&target);
    let made = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666)) // Less the umask.
        .tempfile_in(dir);
    let Ok(mut temporary) = made else {
        return in_place();
    };
    if let Ok(old) = fs::metadata(&target) {
        let is_owned = |new: &Metadata| (new.uid(), new.gid()) == (old.uid(), old.gid());
        let chown = || chown(temporary.path(), Some(old.uid()), Some(old.gid()));
        if !is_owned(&temporary.as_file().metadata()?) && chown().is_err() {
            return in_place();
        }
        temporary.as_file().set_permissions(old.permissions())?;
    }
    temporary.as_file_mut().write_all(contents)?;
    temporary.as_file().sync_all()?;
    temporary.persist(target).map_err(|e| e.error)
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
