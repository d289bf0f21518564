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
    host_of(Growing::new(), times)
}

/// The same, of a host that records phases.
fn host_with_phases(times: u64) -> (Host, Vec<String>) {
    let counts = Growing {
        phases: true,
        ..Growing::new()
    };
    host_of(counts, times)
}

fn host_of(counts: Growing, times: u64) -> (Host, Vec<String>) {
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

#[test]
fn the_time_of_a_command_is_a_budget() {
    let (host, command) = host_with_phases(1);
    let (code, out, text) = stat(&host, &["--phases"], &command);
    assert_eq!((code, out.as_str()), (0, ""));
    let (_, text) = text.split_once(", at ").unwrap();
    let (_, text) = text.split_once('\n').unwrap();
    insta::assert_snapshot!(text);

    let (host, command) = self::host_with_phases(1);
    let (_, _, text) = stat(&host, &["--phases", "--format", "json"], &command);
    check(&text, "PhaseReport");
    let json: Value = serde_json::from_str(&text).unwrap();
    // Two seconds of three vCPUs.
    assert_eq!(
        (&json["elapsed"], &json["seconds"]),
        (&12_000_000_000_u64.into(), &2.0.into())
    );
    let parts = json["budget"].as_array().unwrap().iter();
    let sum: u64 = parts.map(|part| part["cycles"].as_u64().unwrap()).sum();
    assert_eq!(sum, 12_000_000_000);
    let hlt = &json["rows"][0];
    assert_eq!((&hlt["name"], &hlt["exits"]), (&"HLT".into(), &400.into()));
    assert_eq!(hlt["halted"], 400 * 5_000_000_u64);
}

/// Shares of all vCPUs' time, and a sum at the end.
#[test]
fn the_time_of_each_interval_is_a_line() {
    let (host, _) = host_with_phases(0);
    let run = |width: &str, arguments: &[&str]| {
        let mut stat = host.exitprof("stat");
        stat.env("TZ", "UTC").env("COLUMNS", width);
        output(stat.args(["--phases", "--line"]).args(arguments))
    };
    let heads = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("    Time"));
        let words = line.unwrap().split_whitespace();
        words.map(String::from).collect::<Vec<_>>()
    };
    let text = run("80", &["0.02", "2"]);
    let all = [
        "Time", "Guest", "Path", "Handler", "Loop", "User", "Poll", "Halt", "Preempt", "Sleep",
    ];
    assert_eq!(heads(&text), all);
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert!(
        text.contains("\nIn total        no vCPU had any time\n"),
        "{text}"
    );
    assert_eq!(
        heads(&run("50", &["0.02", "1"])),
        ["Time", "Guest", "Handler", "User", "Halt", "Preempt"]
    );
    assert_eq!(heads(&run("5", &["0.02", "1"])), ["Time"]);

    check(
        &run("80", &["--format", "json", "0.02", "1"]),
        "PhaseReport",
    );
    let csv = run("80", &["--format", "csv", "0.02", "2"]);
    let lines: Vec<&str> = csv.lines().collect();
    assert!(
        lines[0].starts_with("time,reason,name,") && lines[0].ends_with(",guest,elapsed,clock")
    );
    assert_eq!(lines.len(), 3);
    assert!(
        lines[1].contains(",all,0,0,") && lines[2].ends_with('Z'),
        "{csv}"
    );
}

/// The figures of a line are those of the interval.
#[test]
fn a_line_has_shares_of_the_time() {
    let (host, _) = host_with_phases(0);
    let counts = Growing {
        phases: true,
        ..Growing::new()
    };
    let mut command = host.exitprof("stat");
    command.args(["--phases", "--line", "0.4", "1"]);
    let text = std::thread::scope(|scope| {
        let run = scope.spawn(|| output(&mut command));
        std::thread::sleep(std::time::Duration::from_millis(200));
        host.load(&counts.later(2).profile());
        run.join().unwrap()
    });
    let (_, text) = text.split_once(" Sleep\n").unwrap();
    let words: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    // Of three vCPUs, one is halted for half of the time, and one preempted for a quarter.
    let want = [
        "71.11%", "0.00%", "0.18%", "0.04%", "3.33%", "0.33%", "16.67%", "8.33%", "0.00%",
    ];
    assert_eq!(words[1..], want, "{text}");
    assert!(text.contains("\nguest        4.27s"), "{text}");
}

#[test]
fn what_phases_cannot_show_is_refused() {
    let (host, command) = host_with_phases(2);
    let (code, _, text) = stat(&host, &["--phases", "-r", "2"], &command);
    assert_eq!(code, 2);
    assert!(
        text.contains("--phases") && text.contains("--repeat"),
        "{text}"
    );
    let (code, _, text) = stat(&host, &["--phases", "--line", "--reason", "HLT", "1"], &[]);
    assert_eq!(code, 1);
    assert!(text.contains("leave out --line or --reason"), "{text}");
}

#[test]
fn the_words_of_perf_say_which_times_they_are() {
    for (phases, words, avg) in [
        (true, "from exit to entry", "2.58ms"),
        (false, "those of KVM's handlers", "25.0us"),
    ] {
        let counts = Growing {
            phases,
            ..Growing::new()
        };
        let (host, command) = host_of(counts, 1);
        let (code, _, text) = stat(&host, &["--as", "perf"], &command);
        assert_eq!(code, 0);
        assert!(text.contains(words), "{text}");
        let hlt = text.lines().find(|line| line.starts_with("HLT")).unwrap();
        assert!(hlt.ends_with(avg), "{text}");
    }
}
