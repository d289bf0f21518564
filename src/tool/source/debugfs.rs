// SPDX-License-Identifier: GPL-2.0

//! The module's file in the host's debugfs.

use crate::snapshot::Snapshot;
use anyhow::{Context, Result, anyhow};
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// Where debugfs is mounted by convention.
const CONVENTION: &str = "/sys/kernel/debug";

/// The path of the file.
#[derive(Debug)]
pub struct Debugfs(PathBuf);

/// What was found.
pub(super) enum Found {
    /// The module's file.
    Profile(Debugfs),
    /// The file may exist, but cannot be read.
    Shut(String),
    /// The file does not exist.
    Nothing(String),
}

impl Debugfs {
    /// Looks for the file in `dir`, or where debugfs is mounted.
    pub(super) fn find(dir: Option<&Path>) -> Found {
        let Some(dir) = folder(dir) else {
            return Found::Nothing(format!(
                "debugfs is not mounted: mount -t debugfs debugfs {CONVENTION}"
            ));
        };
        let path = dir.join("kvm_exitprof/profile");
        match File::open(&path) {
            Ok(_) => Found::Profile(Debugfs(path)),
            Err(e) => {
                let why = explain(&path, &e);
                match e.kind() {
                    ErrorKind::NotFound => Found::Nothing(why),
                    // Without root, nothing shows that the file exists.
                    ErrorKind::PermissionDenied if !is_loaded() => Found::Nothing(why),
                    _ => Found::Shut(why),
                }
            }
        }
    }

    /// Reads the file.
    pub(super) fn read(&self) -> Result<Snapshot> {
        let text = fs::read_to_string(&self.0).map_err(|e| anyhow!(explain(&self.0, &e)))?;
        Snapshot::from_text(&text).with_context(|| self.0.display().to_string())
    }
}

/// `dir`, or where debugfs is mounted.
pub(super) fn folder(dir: Option<&Path>) -> Option<PathBuf> {
    let mounts = || fs::read("/proc/mounts").ok();
    dir.map_or_else(|| mounted(mounts()), |dir| Some(dir.to_owned()))
}

/// Whether the module is loaded, which needs no privileges to see.
fn is_loaded() -> bool {
    fs::exists("/sys/module/kvm_exitprof").unwrap_or(false)
}

/// Where debugfs is mounted, according to the text of /proc/mounts. Without that text,
/// where debugfs is mounted by convention.
fn mounted(mounts: Option<Vec<u8>>) -> Option<PathBuf> {
    let Some(mounts) = mounts else {
        return Some(CONVENTION.into());
    };
    mounts.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let (_, dir, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == b"debugfs").then(|| unescape(dir).into())
    })
}

/// Decodes a field of /proc/mounts, where `\` and three octal digits stand for blanks and
/// the like.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let [first, others @ ..] = rest {
        let octal = (others.get(..3)).filter(|_| *first == b'\\').and_then(|d| {
            let digits = OsStr::from_bytes(d).to_str()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(octal.unwrap_or(*first));
        rest = &others[if octal.is_some() { 3 } else { 0 }..];
    }
    OsString::from_vec(bytes)
}

/// Says why `path` cannot be read, and what to do.
fn explain(path: &Path, e: &io::Error) -> String {
    let dir = path.parent().unwrap_or(path);
    match e.kind() {
        ErrorKind::NotFound if dir.exists() => format!(
            "{} is missing: the loaded module is older than this exitprof; load the module that came with it",
            path.display()
        ),
        ErrorKind::NotFound => format!(
            "the module is not loaded ({} does not exist): insmod kvm_exitprof.ko",
            dir.display()
        ),
        ErrorKind::PermissionDenied => format!(
            "{}: {e}: only root may read debugfs (sudo exitprof …), and nobody if the kernel is locked down",
            path.display()
        ),
        _ => format!("{}: {e}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugfs_is_found_where_it_is_mounted() {
        let at = |text: &str| mounted(Some(text.into()));
        let found = at("proc /proc proc rw 0 0\nnone /a\\040b\\134c debugfs rw 0 0\n");
        assert_eq!(found, Some(r"/a b\c".into()));
        assert_eq!(at("debugfs /proc proc rw 0 0\n"), None);
        assert_eq!(at(""), None);
        assert_eq!(mounted(None), Some(CONVENTION.into()));
        assert_eq!(at("d /x\\ debugfs\n"), Some(r"/x\".into()));
        assert_eq!(at("d /x\\999 debugfs\n"), Some(r"/x\999".into()));
    }

    #[test]
    fn who_may_not_read_is_told_what_to_do() {
        let path = Path::new("/sys/kernel/debug/kvm_exitprof/profile");
        let shut = explain(path, &ErrorKind::PermissionDenied.into());
        assert!(shut.contains("sudo"), "{shut}");
    }
}
