// SPDX-License-Identifier: GPL-2.0

//! `exitprof check`: what is normal, and what is not.

mod statistics;
mod work;

use crate::{
    host::{Host, data, exitprof},
    schema,
};
use exitprof::snapshot::Snapshot;
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use work::{Random, Reason, USUAL, profile, seconds, series, snapshots};

/// A directory with a baseline of 60 s.
struct Baseline(TempDir);

impl Baseline {
    fn new() -> Baseline {
        let baseline = Baseline(TempDir::new().unwrap());
        let usual = seconds(&USUAL, 60, &mut Random(1));
        baseline.write("baseline", &snapshots(&USUAL, &usual));
        baseline
    }

    fn write(&self, name: &str, all: &[Snapshot]) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, series(all)).unwrap();
        file
    }

    /// Checks 60 s of the work against the baseline: the exit status, the output and the errors.
    fn check(&self, reasons: &[Reason], arguments: &[&str]) -> (i32, String, String) {
        let now = seconds(reasons, 60, &mut Random(2));
        self.write("now", &snapshots(reasons, &now));
        self.run(&["baseline", "now"], arguments)
    }

    fn run(&self, files: &[&str], arguments: &[&str]) -> (i32, String, String) {
        let mut check = exitprof();
        check.arg("check").args(files).args(arguments);
        let run = check.current_dir(self.0.path()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            run.status.code().unwrap(),
            text(run.stdout),
            text(run.stderr),
        )
    }
}

/// The usual work, but that a reason has more exits, or slower ones.
fn more(name: &str, rate: f64, cycles: f64) -> Vec<Reason> {
    let more = |reason: Reason| match reason.name == name {
        true => Reason {
            rate: reason.rate * rate,
            cycles: (reason.cycles as f64 * cycles) as u64,
            slow: (reason.slow as f64 * cycles) as u64,
            ..reason
        },
        false => reason,
    };
    USUAL.map(more).to_vec()
}

#[test]
fn the_same_work_is_normal() {
    let baseline = Baseline::new();
    let (code, text, said) = baseline.check(&USUAL, &[]);
    assert_eq!((code, said.as_str()), (0, ""), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn more_exits_are_not_normal() {
    let baseline = Baseline::new();
    let (code, text, said) = baseline.check(&more("CPUID", 2.0, 1.0), &[]);
    assert_eq!(
        (code, said.as_str()),
        (3, "exitprof: not normal: all, CPUID\n"),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

/// Time and p99 have verdicts of their own.
#[test]
fn slower_exits_are_not_normal() {
    let baseline = Baseline::new();
    let (code, text, _) = baseline.check(&more("HLT", 1.0, 2.0), &["--format", "json"]);
    assert_eq!(code, 3);
    schema::check(&text, "Check");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json["normal"], &json["times"]),
        (&false.into(), &"ns".into())
    );
    let verdict = |name: &str, figure: &str| {
        let rows = json["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        row[figure]["verdict"].clone()
    };
    for (name, verdicts) in [
        ("HLT", ["normal", "above", "above"]),
        ("CPUID", ["normal", "normal", "normal"]),
    ] {
        let found = ["rate", "time", "p99"].map(|figure| verdict(name, figure));
        assert_eq!(found, verdicts, "{name}: {text}");
    }
    assert_eq!(verdict("all", "time"), "above");
    // There are too few for these.
    assert_eq!(verdict("WBINVD", "time"), Value::Null);
    assert_eq!(verdict("WBINVD", "rate"), "normal");
}

#[test]
fn what_is_allowed_can_be_said() {
    let baseline = Baseline::new();
    let busier = more("CPUID", 1.5, 1.0);
    let code = |arguments: &[&str]| baseline.check(&busier, arguments).0;
    assert_eq!(code(&[]), 3);
    assert_eq!(code(&["--change", "60%"]), 0);
    assert_eq!(code(&["--change", "40"]), 3);
    assert_eq!(code(&["--noise", "100"]), 0);
    assert_eq!(code(&["--reason", "HLT"]), 0);
    assert_eq!(code(&["--reason", "cpuid"]), 3);
    assert_eq!(code(&["--top", "0"]), 3, "what is not shown counts, too");
    let (code, text, said) = baseline.check(&more("CPUID", 0.5, 1.0), &["--cycles"]);
    assert_eq!((code, said.as_str()), (0, ""), "{text}");
    assert!(text.contains("Below           all Exits/s: "), "{text}");
    assert!(text.contains("Times are in TSC cycles"), "{text}");
    let (code, _, said) = baseline.check(&more("CPUID", 0.5, 1.0), &["--below"]);
    assert_eq!(
        (code, said.as_str()),
        (3, "exitprof: not normal: all, CPUID\n")
    );
}

#[test]
fn csv_has_the_columns_of_the_schema() {
    let baseline = Baseline::new();
    let (_, text, _) = baseline.check(&USUAL, &["--format", "csv"]);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
    assert_eq!(
        head[..5],
        [
            "reason",
            "name",
            "rate_baseline",
            "rate_noise",
            "rate_limit"
        ]
    );
    assert_eq!(reader.records().count(), 4);
    let help = exitprof().args(["schema", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        head.iter().all(|column| help.contains(column.as_str())),
        "{help}"
    );
}

#[test]
fn what_cannot_be_checked_is_told() {
    let baseline = Baseline::new();
    let all = snapshots(&USUAL, &seconds(&USUAL, 60, &mut Random(3)));
    baseline.write("short", &all[..30]);
    baseline.write("shorter", &all[..5]);
    let mut svm = all.clone();
    svm.iter_mut()
        .for_each(|snapshot| snapshot.isa = ::profile::isa::Isa::Svm);
    baseline.write("svm", &svm);
    fs::copy(data("seed.json"), baseline.0.path().join("single")).unwrap();
    for (files, says) in [
        (
            &["short", "baseline"][..],
            "short: a baseline needs 30 intervals or more",
        ),
        (
            &["baseline", "shorter"],
            "there are 4 intervals to check, but it takes 5 or more",
        ),
        (&["baseline", "single"], "single: it has one snapshot"),
        (&["single", "baseline"], "single: it has one snapshot"),
        (&["baseline", "nowhere"], "nowhere: No such file"),
        (&["baseline", "svm"], "not what the baseline counted"),
        (
            &["baseline", "baseline", "--reason", "CPUDI"],
            "did you mean CPUID?",
        ),
    ] {
        let (code, text, said) = baseline.run(files, &[]);
        assert_eq!((code, text.as_str()), (1, ""), "{files:?}");
        assert!(said.contains(says), "{files:?}: {said}");
    }
    for arguments in [
        &["--noise", "-1"][..],
        &["--noise", "x"],
        &["--change", "x"],
        &["now", "--for", "1"],
        &["now", "--source", "host"],
    ] {
        assert_eq!(baseline.run(&["baseline"], arguments).0, 2, "{arguments:?}");
    }
}

/// A recording of a period has one interval, however long it is.
#[test]
fn a_period_is_checked() {
    let baseline = Baseline::new();
    let all = snapshots(
        &more("CPUID", 2.0, 1.0),
        &seconds(&USUAL, 60, &mut Random(4)),
    );
    let period = all[60].since(&all[0]).unwrap();
    let file = baseline.0.path().join("period");
    fs::write(&file, serde_json::to_string(&period).unwrap()).unwrap();
    let (code, text, _) = baseline.run(&["baseline", "period"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("period, 1 interval in 60.0 s"), "{text}");
}

/// Counters that are replaced, or off, say nothing.
#[test]
fn intervals_without_figures_are_left_out() {
    let baseline = Baseline::new();
    let mut all = snapshots(&USUAL, &seconds(&USUAL, 60, &mut Random(5)));
    for snapshot in &mut all[20..] {
        snapshot.epoch = 8;
    }
    for snapshot in &mut all[40..42] {
        snapshot.recording = Some(false);
    }
    baseline.write("now", &all);
    let (code, text, _) = baseline.run(&["baseline", "now"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("now, 56 intervals in 56.0 s, 4 left out"),
        "{text}"
    );
}

/// Shorter intervals are joined.
#[test]
fn intervals_are_as_long_as_those_of_the_baseline() {
    let baseline = Baseline::new();
    let mut all = snapshots(&USUAL, &seconds(&USUAL, 60, &mut Random(6)));
    for snapshot in &mut all {
        snapshot.time_ns /= 4;
    }
    baseline.write("now", &all);
    let (code, text, _) = baseline.run(&["baseline", "now"], &[]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("now, 15 intervals in 15.0 s"), "{text}");
}

/// A host that counts at steady rates, by its own clock.
#[test]
fn a_host_is_checked() {
    let dir = TempDir::new().unwrap();
    let host = Host::new("");
    let began = Instant::now();
    let load = |rate: u64| {
        let ms = began.elapsed().as_millis() as u64 + 1000;
        let exits = [rate * ms, 200 * ms, 0];
        host.load(&profile(&USUAL, ms * 1_000_000, &exits, 7));
    };
    // The baseline has intervals of 50 ms.
    let snapshot = |n: u64| {
        let text = profile(&USUAL, n * 50_000_000, &[50_000 * n, 10_000 * n, 0], 7);
        Snapshot::from_text(&text).unwrap()
    };
    let usual: Vec<Snapshot> = (1..=40).map(snapshot).collect();
    let file = dir.path().join("baseline");
    fs::write(&file, series(&usual)).unwrap();
    let check = |rate: u64| {
        let done = AtomicBool::new(false);
        load(rate);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    load(rate);
                    thread::sleep(Duration::from_millis(5));
                }
            });
            let mut check = host.exitprof("check");
            let run = check.arg(&file).args(["--for", "4"]).output().unwrap();
            done.store(true, Relaxed);
            let text = String::from_utf8(run.stdout).unwrap();
            (run.status.code(), text)
        })
    };
    let (code, text) = check(1000);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("this machine, "), "{text}");
    let (code, text) = check(1500);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("Above           all Exits/s"), "{text}");
}
