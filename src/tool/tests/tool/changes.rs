// SPDX-License-Identifier: GPL-2.0

//! `exitprof diff`: several files, selections, and limits.

use crate::{growing::Growing, host::exitprof, schema::check};
use serde_json::Value;
use std::{fs, process::Output};
use tempfile::TempDir;

/// Recordings of one host after 100, 110 and 130 seconds, and of another whose exits come
/// half as often.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(TempDir::new().unwrap());
        let counts = Growing::new();
        for (name, seconds) in [("1", 0), ("2", 10), ("3", 30)] {
            files.write(name, &counts.later(seconds).profile());
        }
        let slower = counts.profile().replace("time_ns=100", "time_ns=200");
        files.write(
            "slower",
            &slower.replace("id=00000000000000aa", "id=00000000000000bb"),
        );
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn diff(&self, arguments: &[&str]) -> Output {
        let mut diff = exitprof();
        diff.current_dir(self.0.path())
            .arg("diff")
            .args(arguments)
            .output()
            .unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let run = self.diff(arguments);
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[&["--format", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }
}

#[test]
fn several_files_are_compared() {
    let files = Files::new();
    insta::assert_snapshot!(files.text(&["1", "2", "3"]));
    let json = files.json(&["1", "2", "3"]);
    let seconds: Vec<&Value> = json["files"].as_array().unwrap().iter().collect();
    assert_eq!(seconds[2]["seconds"], 20.0);
    assert_eq!(json["rows"][0]["c"]["exits"], 20_000);
    assert!(
        json["rows"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["exits_change"] == 0.0)
    );
    let csv = files.text(&["--format", "csv", "1", "2", "3"]);
    assert!(csv.contains(",c_exits,"), "{csv}");
    check(
        &files.text(&["--format", "json", "1", "2", "3", "slower"]),
        "Diff",
    );
    let run = files.diff(&["1", "3", "2"]);
    let error = String::from_utf8(run.stderr).unwrap();
    assert!(error.contains("B was recorded after C"), "{error}");
    let run = files.diff(&["1"; 27]);
    assert!(
        String::from_utf8(run.stderr)
            .unwrap()
            .contains("at most 26")
    );
    for width in [20, 40, 80] {
        let run = exitprof()
            .current_dir(files.0.path())
            .env("COLUMNS", width.to_string())
            .args(["diff", "1", "2", "3", "slower", "1", "2", "3"])
            .output()
            .unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        let table = text.split("\n\n").nth(1).unwrap();
        assert!(
            table.lines().all(|line| line.len() <= width.max(45)),
            "{table}"
        );
    }
}

#[test]
fn what_is_compared_can_be_selected() {
    let files = Files::new();
    let names = |json: &Value| -> Vec<String> {
        let rows = json["rows"].as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let json = files.json(&["--reason", "HLT", "1", "slower"]);
    assert_eq!(names(&json), ["HLT"]);
    assert_eq!(json["files"][0]["total"]["exits"], 20_000);
    let json = files.json(&["--vm", "412", "1", "slower"]);
    assert_eq!(
        (names(&json), &json["rows"][0]["a"]["exits"]),
        (vec!["CPUID".into()], &90_000.into())
    );
    let json = files.json(&["--by", "vm,reason", "--sort", "reason", "1", "slower"]);
    assert_eq!(names(&json), ["CPUID", "CPUID", "HLT"]);
    assert_eq!(json["rows"][1]["owner"], "977-14");
    assert_eq!(
        names(&files.json(&["--sort", "exits", "1", "slower"])),
        ["CPUID", "HLT"]
    );
    assert_eq!(
        names(&files.json(&["--sort", "time", "1", "slower"])),
        ["HLT", "CPUID"]
    );
    let gone = Growing {
        ended: true,
        ..Growing::new()
    };
    files.write(
        "gone",
        &gone
            .profile()
            .replace("id=00000000000000aa", "id=00000000000000bb"),
    );
    // It is in one of them.
    let json = files.json(&["--vm", "977", "1", "gone"]);
    assert_eq!(json["rows"][0]["b"]["exits"], 0);
    let run = files.diff(&["--vm", "978", "1", "gone"]);
    assert_eq!(run.status.code(), Some(1));
}

#[test]
fn more_than_is_allowed_is_a_status() {
    let files = Files::new();
    let status = |arguments: &[&str]| {
        let run = files.diff(arguments);
        (
            run.status.code().unwrap(),
            String::from_utf8(run.stderr).unwrap(),
        )
    };
    let says = "exitprof: exits/s +100%, time/s +100%: more than 10%\n";
    for limit in ["10", "10%"] {
        let above = status(&["--fail-above", limit, "slower", "1"]);
        assert_eq!(above, (3, says.into()));
    }
    assert_eq!(
        status(&["--fail-above", "10%", "1", "slower"]),
        (0, String::new())
    );
    assert_eq!(status(&["--fail-above", "100.1", "slower", "1"]).0, 0);
    assert_eq!(status(&["--fail-above", "0", "1", "2"]).0, 0);
    assert_eq!(status(&["--fail-above", "-1", "1", "2"]).0, 2);
    assert_eq!(status(&["--fail-above", "ten", "1", "2"]).0, 2);
}

#[test]
fn changes_are_coloured() {
    let files = Files::new();
    let coloured = |a, b| {
        let mut diff = exitprof();
        diff.current_dir(files.0.path())
            .env("CLICOLOR_FORCE", "1")
            .env("TERM", "xterm");
        let run = diff.args(["diff", a, b]).output().unwrap();
        String::from_utf8(run.stdout).unwrap()
    };
    assert!(coloured("slower", "1").contains("\x1b[31m+100%\x1b[0m"));
    assert!(coloured("1", "slower").contains("\x1b[32m-50.0%\x1b[0m"));
    assert!(!coloured("1", "2").contains("\x1b[3"));
}
