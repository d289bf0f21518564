// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat`: a line for each interval, repeated runs, and files that are appended to.

use crate::{
    growing::Growing,
    host::{Host, output},
    schema::check,
};
use serde_json::Value;
use std::fs;

/// A host that counts two more seconds each time a command runs, and that command: it moves
/// the next of several profiles into place.
fn host(times: u64) -> (Host, Vec<String>) {
    let counts = Growing::new();
    let host = Host::new(&counts.profile());
    for time in 1..=times {
        let text = counts.later(2 * time).profile();
        fs::write(host.0.path().join(format!("next{time}")), text).unwrap();
    }
    let script = "cd $0 && for i in 1 2 3 4 5; do \
                  test -e next$i && mv next$i kvm_exitprof/profile && exit 0; done; exit 7";
    let dir = host.0.path().display().to_string();
    let command = ["--", "/bin/sh", "-c", script, &dir].map(String::from);
    (host, command.to_vec())
}

fn stat(host: &Host, arguments: &[&str], command: &[String]) -> (i32, String, String) {
    let mut stat = host.exitprof("stat");
    stat.env("PATH", "/usr/bin:/bin")
        .env("TZ", "UTC")
        .args(arguments)
        .args(command);
    let run = stat.output().unwrap();
    let [out, error] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    (run.status.code().unwrap(), out, error)
}

#[test]
fn runs_are_averaged() {
    let (host, command) = host(3);
    let (code, out, text) = stat(&host, &["-r", "3"], &command);
    assert_eq!((code, out.as_str()), (0, ""));
    let (text, duration) = text.split_once("Duration").unwrap();
    assert!(duration.contains(" s +- "), "{duration}");
    insta::assert_snapshot!(text);
    let (host, command) = self::host(3);
    let (code, _, text) = stat(&host, &["-r", "2", "--format", "json"], &command);
    assert_eq!(code, 0);
    check(&text, "Repeat");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["runs"], 2);
    let seconds = json["seconds"]["mean"].as_f64().unwrap();
    assert!((0.0001..60.0).contains(&seconds));
    let row = &json["rows"][0];
    assert_eq!(
        (&row["name"], &row["exits_mean"]),
        (&"CPUID".into(), &2000.0.into())
    );
    assert_eq!(
        (&row["avg_mean"], &row["avg_deviation"]),
        (&600.0.into(), &0.0.into())
    );
}

/// The mean and the deviation of 10, 12 and 17 are 13 and 3.6.
#[test]
fn runs_deviate() {
    let spread = exitprof::rate::Spread::of(&[10.0, 12.0, 17.0]);
    assert_eq!(spread.mean, 13.0);
    assert!((spread.deviation.powi(2) - 13.0).abs() < 1e-9);
    let one = exitprof::rate::Spread::of(&[7.0]);
    assert_eq!((one.mean, one.deviation), (7.0, 0.0));
    assert_eq!(exitprof::rate::Spread::of(&[]).share(), None);
}

#[test]
fn a_run_that_fails_is_the_last() {
    let (host, command) = host(2);
    let (code, _, text) = stat(&host, &["-r", "4"], &command);
    assert_eq!(code, 7);
    assert!(
        text.starts_with("exitprof: run 3 of 4 failed, and is left out\n"),
        "{text}"
    );
    assert!(text.contains(" in each of 2 runs"), "{text}");
    let (code, ..) = stat(&host, &["-r", "0"], &command);
    assert_eq!(code, 2);
}

#[test]
fn each_interval_is_a_line() {
    let (host, _) = host(0);
    let text = output(
        host.exitprof("stat")
            .env("TZ", "UTC")
            .args(["--line", "0.02", "25"]),
    );
    let (title, text) = text.split_once("\n\n").unwrap();
    assert!(title.starts_with("Exits of all guests"), "{title}");
    let (table, words) = text.split_once("\n\n").unwrap();
    let lines: Vec<&str> = table.lines().collect();
    let head = "    Time Exits/s   CPU%    Avg   CPUID     HLT  others";
    // The headings come again after 20 lines.
    assert_eq!((lines.len(), lines[0], lines[21]), (27, head, head));
    for line in lines.iter().filter(|line| **line != head) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((line.len(), words[0].len()), (head.len(), 8), "{line}");
        assert_eq!(words[1..], ["-", "-", "-", "-", "-", "-"], "{line}");
    }
    assert!(words.contains("In total        0 exits"), "{words}");
    host.exitprof("stat")
        .args(["--line", "--by", "vm"])
        .assert()
        .code(2);
}

#[test]
fn a_line_has_rates_of_the_selected_reasons() {
    let counts = Growing::new();
    let first = exitprof::snapshot::Snapshot::from_text(&counts.profile()).unwrap();
    let later = exitprof::snapshot::Snapshot::from_text(&counts.later(2).profile()).unwrap();
    let delta = later.since(&first).unwrap();
    for (reasons, want) in [
        (
            &[][..],
            "       -    1200  0.27% 4.42us    1000     200     0.0\n",
        ),
        (&["HLT"], "       -     200  0.25% 25.0us     200\n"),
        (
            &["10", "12"],
            "       -    1200  0.27% 4.42us    1000     200\n",
        ),
    ] {
        let selection = exitprof::select::Selection {
            reasons: reasons.iter().map(|name| name.to_string()).collect(),
            ..exitprof::select::Selection::everything()
        };
        let mut lines = exitprof::commands::stat::Lines::new(&selection, &first).unwrap();
        let mut out = Vec::new();
        lines
            .print(
                &delta,
                exitprof::render::units::Unit::Time(2_000_000),
                &mut out,
            )
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = text.split_inclusive('\n').next_back().unwrap();
        assert_eq!(line, want);
    }
}

#[test]
fn programs_get_a_row_for_each_line() {
    let (host, _) = host(0);
    let run = |format| {
        let mut stat = host.exitprof("stat");
        output(stat.args(["--line", "--format", format, "0.01", "2"]))
    };
    let csv = run("csv");
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[0].starts_with("time,vm,vcpu,reason,name,exits,") && lines[0].ends_with(",clock")
    );
    assert!(
        lines[1].contains(",all,0,") && lines[1].ends_with('Z'),
        "{csv}"
    );
    assert_eq!(lines.len(), 3);
    check(&run("json"), "Report");
}

/// The column names are written once.
#[test]
fn files_are_appended_to() {
    let (host, _) = host(0);
    let file = host.0.path().join("log.csv");
    for _ in 0..2 {
        let mut stat = host.exitprof("stat");
        stat.args(["--line", "--format", "csv", "0.01", "1", "--append", "-o"])
            .arg(&file);
        stat.assert().success();
    }
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(
        (text.lines().count(), text.matches("time,vm").count()),
        (3, 1),
        "{text}"
    );
    host.exitprof("stat")
        .args(["--append", "1", "1"])
        .assert()
        .code(2);
}

#[test]
fn intervals_can_be_given_as_in_perf() {
    let (host, _) = host(0);
    let mut stat = host.exitprof("stat");
    stat.args(["-I", "10"])
        .timeout(std::time::Duration::from_millis(300));
    let run = stat.output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.matches("interval ").count() > 3, "{text}");
    host.exitprof("stat")
        .args(["-I", "10", "1"])
        .assert()
        .code(2);
    host.exitprof("stat").args(["-I", "0"]).assert().code(2);
}
