// SPDX-License-Identifier: GPL-2.0

//! Exits that are counted but not timed.

use crate::host::{Host, PROFILE, data, diff, exitprof, output};
use serde_json::Value;

/// The report on [`PROFILE`], where 312 of 487 MSR_WRITE exits and all 424 PREEMPTION_TIMER
/// exits are untimed.
fn report(arguments: &[&str]) -> String {
    let mut report = exitprof();
    let text = output(
        report
            .args(["report", "-i"])
            .arg(data("host-v2.txt"))
            .args(arguments),
    );
    if !arguments.contains(&"--format") {
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
    text
}

/// The row of a reason as JSON.
fn row(arguments: &[&str], name: &str) -> Value {
    let all = [&["--format", "json"], arguments].concat();
    let json: Value = serde_json::from_str(&report(&all)).unwrap();
    let mut rows = json["rows"].as_array().unwrap().iter();
    rows.find(|row| row["name"] == name).unwrap().clone()
}

#[test]
fn what_was_not_timed_is_reported() {
    insta::assert_snapshot!(report(&[]));
}

#[test]
fn what_was_not_timed_is_csv() {
    insta::assert_snapshot!(report(&[
        "--format",
        "csv",
        "--reason",
        "MSR_WRITE",
        "--reason",
        "PREEMPTION_TIMER"
    ]));
}

#[test]
fn vcpus_have_exits_that_were_not_timed() {
    insta::assert_snapshot!(report(&["--by", "vcpu"]));
}

#[test]
fn averages_are_of_timed_exits() {
    let gross = row(&[], "MSR_WRITE");
    assert_eq!(
        (&gross["exits"], &gross["untimed"]),
        (&487.into(), &312.into())
    );
    assert_eq!(gross["avg"], 32_572.0 / 175.0);
    assert_eq!(gross["min"], 17);
    // Only timed exits include the overhead.
    let net = row(&["--net"], "MSR_WRITE");
    assert_eq!(net["cycles"], 32_572 - 175 * 24);
    assert_eq!(net["avg"], f64::from(32_572 - 175 * 24) / 175.0);
}

#[test]
fn times_of_what_was_not_timed_are_unknown() {
    for arguments in [&[][..], &["--net"]] {
        let row = row(arguments, "PREEMPTION_TIMER");
        assert_eq!((&row["exits"], &row["untimed"]), (&424.into(), &424.into()));
        assert_eq!(row["cycles"], 0);
        for unknown in ["time_percent", "min", "max", "avg", "p50", "p99"] {
            assert_eq!(row[unknown], Value::Null, "{unknown}");
        }
    }
}

/// Version 1 does not say.
#[test]
fn it_may_be_unknown_what_was_not_timed() {
    let mut report = exitprof();
    report.args(["report", "--format", "json", "-i"]);
    let json: Value = serde_json::from_str(&output(report.arg(data("host.txt")))).unwrap();
    assert_eq!(json["total"]["untimed"], Value::Null);
    let mut rows = json["rows"].as_array().unwrap().iter();
    assert!(rows.all(|row| row["untimed"].is_null() && !row["avg"].is_null()));
}

/// The module reads the numbers one by one, while exits go on.
#[test]
fn more_may_seem_to_be_untimed_than_there_is() {
    let text = PROFILE.replace(
        "exits=424 cycles=0 untimed=424",
        "exits=423 cycles=0 untimed=424",
    );
    let host = Host::new(&text);
    let table = output(
        host.exitprof("report")
            .args(["--reason", "PREEMPTION_TIMER"]),
    );
    assert!(table.contains("PREEMPTION_TIMER: 423 of 423\n"), "{table}");
}

#[test]
fn many_are_named_in_lines_of_their_own() {
    let profile = PROFILE.replace("untimed=0", "untimed=1");
    let host = Host::new(&profile);
    let table = output(&mut host.exitprof("report"));
    assert!(table.lines().all(|line| line.len() <= 80), "{table}");
    let (_, words) = table.split_once("\nNot timed       ").unwrap();
    let (words, _) = words.split_once("\nIn total").unwrap();
    let words = words.replace("\n                ", " ");
    assert!(
        words.starts_with("EPT_VIOLATION: 1 of 9,241; IO_"),
        "{words}"
    );
    assert!(words.ends_with("; and 5 more"), "{words}");
}

#[test]
fn a_change_of_what_was_timed_is_told() {
    let later = PROFILE
        .replace("time_ns=184", "time_ns=194")
        .replace(
            "exits=487 cycles=32572 untimed=312",
            "exits=587 cycles=36072 untimed=387",
        )
        .replace(
            "exits=424 cycles=0 untimed=424",
            "exits=524 cycles=0 untimed=524",
        );
    let host = Host::new(&later);
    let later = host.0.path().join("kvm_exitprof/profile");
    insta::assert_snapshot!(diff([&data("host-v2.txt"), &later]));
}

#[test]
fn a_command_is_told_what_was_not_timed() {
    let later = PROFILE.replace("time_ns=184", "time_ns=185").replace(
        "exits=487 cycles=32572 untimed=312",
        "exits=587 cycles=36072 untimed=387",
    );
    let host = Host::new(PROFILE);
    let new = host.0.path().join("new");
    std::fs::write(&new, later).unwrap();
    let profile = host.0.path().join("kvm_exitprof/profile");
    let mut stat = host.exitprof("stat");
    stat.env("PATH", "/usr/bin:/bin").args(["--", "mv"]);
    let run = stat
        .args([new, profile])
        .assert()
        .success()
        .get_output()
        .clone();
    let text = String::from_utf8(run.stderr).unwrap();
    let (before, after) = text.split_once(", at ").unwrap();
    // Without the time of day.
    insta::assert_snapshot!(format!("{before}{}", &after["00:00:00".len()..]));
}
