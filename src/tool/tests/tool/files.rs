// SPDX-License-Identifier: GPL-2.0

//! Files that the tool writes.

use crate::host::{Host, PROFILE, data};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
    process::{Command, Output},
};

/// Runs a command in a directory; `$0` is the tool.
fn run(dir: &Path, script: &str) -> Output {
    let mut sh = Command::new("/bin/sh");
    sh.args(["-c", script, env!("CARGO_BIN_EXE_exitprof")]);
    sh.current_dir(dir).output().unwrap()
}

fn is_recording(path: &Path) -> bool {
    fs::read_to_string(path)
        .unwrap()
        .starts_with("{\"version\":2")
}

#[test]
fn a_file_keeps_its_links_and_mode() {
    let host = Host::new(PROFILE);
    let dir = host.0.path();
    let record = |file: &str| {
        let output = run(dir, &format!("\"$0\" record --debugfs . {file}"));
        assert!(output.status.success(), "{output:?}");
    };
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/file"), "old").unwrap();
    let mode = |mode| fs::set_permissions(dir.join("sub/file"), Permissions::from_mode(mode));
    mode(0o600).unwrap();
    symlink("file", dir.join("sub/second")).unwrap();
    symlink("sub/second", dir.join("first")).unwrap();
    symlink("new", dir.join("dangling")).unwrap();
    let inode = fs::metadata(dir.join("sub/file")).unwrap().ino();
    record("first");
    assert!(
        fs::read_link(dir.join("first")).is_ok() && fs::read_link(dir.join("sub/second")).is_ok()
    );
    assert!(is_recording(&dir.join("sub/file")));
    let meta = fs::metadata(dir.join("sub/file")).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600);
    assert_ne!(meta.ino(), inode, "was replaced as a whole");

    fs::hard_link(dir.join("sub/file"), dir.join("hard")).unwrap();
    fs::write(dir.join("hard"), "old").unwrap();
    record("hard");
    assert!(is_recording(&dir.join("sub/file")));
    record("dangling");
    assert!(fs::read_link(dir.join("dangling")).is_ok() && is_recording(&dir.join("new")));
    // Nothing is left behind.
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert!(
        names
            .into_iter()
            .all(|name| !name.to_string_lossy().starts_with('.'))
    );
}

#[test]
fn a_link_to_an_open_file_is_followed() {
    let host = Host::new(PROFILE);
    let dir = host.0.path();
    symlink("/proc/self/fd/1", dir.join("out")).unwrap();
    for file in ["out", "/dev/fd/1", "./out"] {
        let script = format!(
            "\"$0\" record --debugfs . {file} > x && \"$0\" record --debugfs . {file} | cat > y"
        );
        let output = run(dir, &script);
        assert!(output.status.success(), "{output:?}");
        assert!(is_recording(&dir.join("x")) && is_recording(&dir.join("y")));
        assert!(fs::read_link(dir.join("out")).is_ok());
        fs::remove_file(dir.join("x")).unwrap();
    }
    let output = run(dir, "\"$0\" record --debugfs . /dev/full");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "exitprof: /dev/full: No space left on device (os error 28)\n"
    );
    let output = run(dir, "\"$0\" record --debugfs . /nowhere/file");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "exitprof: /nowhere/file: No such file or directory (os error 2)\n"
    );
}

/// Whatever is printed.
#[test]
fn a_full_disk_is_an_error() {
    let host = Host::new(PROFILE);
    let recording = data("host.txt");
    for command in [
        "--help",
        "--version",
        "report --help",
        "schema",
        "report -i FILE",
        "report -i FILE --format json",
        "report -i FILE --format csv",
        "diff FILE OTHER",
        "stat --debugfs . 0.01 2",
        "stat --debugfs . 0.01 2 --format csv",
        "record --debugfs . -",
    ] {
        let other = data("boot.txt").display().to_string();
        let command = command
            .replace("FILE", &recording.display().to_string())
            .replace("OTHER", &other);
        let output = run(host.0.path(), &format!("\"$0\" {command} > /dev/full"));
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("No space left"), "{command}: {said}");
    }
    // A message that cannot be printed is no reason to fail otherwise.
    let output = run(host.0.path(), "\"$0\" report --frobnicate 2> /dev/full");
    assert_eq!(output.status.code(), Some(2));
    let output = run(host.0.path(), "\"$0\" report -i /nowhere 2> /dev/full");
    assert_eq!(output.status.code(), Some(1));
}
