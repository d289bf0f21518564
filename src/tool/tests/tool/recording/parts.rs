// SPDX-License-Identifier: GPL-2.0

//! Parts of a series, in `report` and `diff`.

use super::{at, series};
use crate::{
    growing::Growing,
    host::{data, exitprof, output},
};
use serde_json::Value;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A file with these snapshots.
fn file(dir: &TempDir, name: &str, snapshots: impl IntoIterator<Item = Growing>) -> PathBuf {
    let file = dir.path().join(name);
    fs::write(&file, series(snapshots)).unwrap();
    file
}

fn report(file: &PathBuf, arguments: &[&str]) -> Value {
    let mut report = exitprof();
    report.args(["report", "--format", "json"]).args(arguments);
    serde_json::from_str(&output(report.arg("-i").arg(file))).unwrap()
}

/// What a failure says.
fn said(arguments: &[&str]) -> String {
    let run = exitprof()
        .args(arguments)
        .assert()
        .code(1)
        .get_output()
        .clone();
    String::from_utf8(run.stderr).unwrap()
}

#[test]
fn a_report_is_of_all_or_of_a_part() {
    let dir = TempDir::new().unwrap();
    let file = file(&dir, "series", at(&[0, 10, 20, 60]));
    for (arguments, seconds) in [
        (&[][..], 60.0),
        (&["--between", "start", "end"], 60.0),
        (&["--between", "10s", "19"], 10.0),
        (&["--between", "-50", "-40s"], 10.0),
        (
            &["--between", "2026-11-26T09:01:50Z", "2026-11-26T09:02:40Z"],
            50.0,
        ),
        // Since the counters started.
        (&["--at", "start"], 100.0),
        (&["--at", "20s"], 120.0),
        (&["--at", "-1m"], 100.0),
    ] {
        let json = report(&file, arguments);
        assert_eq!(json["seconds"], seconds, "{arguments:?}");
        assert_eq!(json["total"]["exits"], seconds * 1200.0, "{arguments:?}");
    }
}

/// Those of VMs, details and phases are of the part, too.
#[test]
fn all_tables_are_of_the_part() {
    let dir = TempDir::new().unwrap();
    let phases = at(&[0, 10]).map(|growing| Growing {
        phases: true,
        ..growing
    });
    let file = file(&dir, "series", phases);
    let json = report(&file, &["--by", "vm"]);
    assert_eq!(json["rows"][0]["exits"], 9000);
    let json = report(&file, &["--phases"]);
    // Three vCPUs at 2 GHz.
    assert_eq!(json["elapsed"], 60_000_000_000_u64);
}

#[test]
fn parts_are_compared() {
    let dir = TempDir::new().unwrap();
    let a = file(&dir, "a", at(&[0, 10, 20, 60]));
    let b = file(&dir, "b", at(&[100, 110, 120, 160]));
    let diff = |arguments: &[&str]| -> Value {
        let mut diff = exitprof();
        let text = output(diff.args(["diff", "--format", "json"]).args(arguments));
        serde_json::from_str(&text).unwrap()
    };
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    for (arguments, seconds) in [
        (&[a, b][..], [60.0, 60.0]),
        (&[a, b, "--between", "10", "20"], [10.0, 10.0]),
        (
            &[a, b, "--between", "10", "20", "--between", "0", "60"],
            [10.0, 60.0],
        ),
        (
            &[a, "--between", "10", "20", "--between", "20", "60"],
            [10.0, 40.0],
        ),
        // The second continues the first.
        (&[a, "--at", "0", "--at", "20"], [100.0, 20.0]),
        (&[a, b, "--at", "end"], [160.0, 100.0]),
    ] {
        let json = diff(arguments);
        let found = [&json["seconds_a"], &json["seconds_b"]];
        assert_eq!(found, seconds, "{arguments:?}");
    }
    let text = output(exitprof().args(["diff", a, "--between", "0", "9", "--between", "20", "60"]));
    let both = ["a from 0.0 s to 10.0 s", "a from 20.0 s to 60.0 s"];
    assert!(both.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn what_a_recording_does_not_have_is_told() {
    let dir = TempDir::new().unwrap();
    let a = file(&dir, "a", at(&[0, 10]));
    let one = file(&dir, "one", at(&[0]));
    let (a, one) = (a.to_str().unwrap(), one.to_str().unwrap());
    let host = data("host.txt").display().to_string();
    for (arguments, says) in [
        (
            &["report", "-i", &host, "--at", "end"][..],
            "it has one snapshot; --at",
        ),
        (
            &["report", "-i", &host, "--between", "0", "1"],
            "it has one snapshot; --at",
        ),
        (
            &["report", "-i", one],
            "the series has one snapshot, so no interval",
        ),
        (&["report", "--at", "end"], "name its file with -i"),
        (
            &["report", "-i", a, "--at", "1", "--at", "2"],
            "can be given once",
        ),
        (
            &["report", "-i", a, "--at", "1h"],
            "a: the recording is of another time",
        ),
        (
            &["report", "-i", a, "--between", "1", "2"],
            "only one at 0.000 s",
        ),
        (&["diff", a], "there is one recording"),
        (&["diff", a, "--at", "1"], "there is one recording"),
        (
            &["diff", a, a, a, "--at", "1", "--at", "2"],
            "3 recordings and 2 times",
        ),
    ] {
        let text = said(arguments);
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
    exitprof()
        .args(["report", "-i", a, "--at", "x"])
        .assert()
        .code(2);
    exitprof()
        .args(["report", "-i", a, "--between", "1"])
        .assert()
        .code(2);
}

/// The counters are replaced twice; what is known was counted since the last time.
#[test]
fn counters_that_were_replaced_are_left_out() {
    let dir = TempDir::new().unwrap();
    let other = |epoch, seconds| Growing {
        epoch,
        ..Growing::new().later(seconds)
    };
    // They say that they started before the first of them was read, but not when: as guests.
    let all = [
        other(7, 0),
        other(7, 10),
        other(8, 20),
        other(9, 30),
        other(9, 40),
        other(9, 60),
    ];
    let file = file(&dir, "series", all);
    let json = report(&file, &[]);
    assert_eq!(json["seconds"], 30.0);
    let json = report(&file, &["--between", "0", "10"]);
    assert_eq!(json["seconds"], 10.0);
    let said = said(&[
        "report",
        "-i",
        file.to_str().unwrap(),
        "--between",
        "10",
        "20",
    ]);
    assert!(
        said.contains("it is unknown what was counted in between"),
        "{said}"
    );
}
