// SPDX-License-Identifier: GPL-2.0

//! `exitprof diff --phases`: where the time of recordings went, side by side.

use crate::{
    growing::Growing,
    host::{data, exitprof},
    schema::check,
};
use exitprof::snapshot::{Period, Snapshot, budget::Budget};
use serde_json::Value;
use std::{fs, process::Output};
use tempfile::TempDir;

/// What a host counts in so many seconds, in which userspace takes `factor` times as long as
/// usually, and the guest no less.
fn period(seconds: u64, factor: u64, command: Option<&str>) -> Snapshot {
    let host = Growing {
        phases: true,
        ..Growing::new()
    };
    let read = |host: Growing| Snapshot::from_text(&host.profile()).unwrap();
    let mut period = read(host.later(seconds)).since(&read(host)).unwrap();
    for budget in &mut period.budgets {
        for row in &mut budget.spent {
            budget.elapsed += row.cycles.userspace * (factor - 1);
            row.cycles.userspace *= factor;
        }
    }
    period.period = Some(Period {
        command: command.map(String::from),
    });
    period
}

struct Files(TempDir);

impl Files {
    fn new(snapshots: &[(&str, Snapshot)]) -> Files {
        let files = Files(TempDir::new().unwrap());
        for (name, snapshot) in snapshots {
            let text = serde_json::to_string(snapshot).unwrap();
            fs::write(files.0.path().join(name), text).unwrap();
        }
        files
    }

    fn diff(&self, arguments: &[&str]) -> Output {
        let mut diff = exitprof();
        diff.current_dir(self.0.path()).env("TZ", "UTC");
        diff.args(["diff", "--phases"]).args(arguments);
        diff.output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let run = self.diff(arguments);
        assert!(run.status.success(), "{run:?}");
        String::from_utf8(run.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[&["--format", "json"], arguments].concat());
        check(&text, "Diff");
        serde_json::from_str(&text).unwrap()
    }
}

fn periods() -> Files {
    Files::new(&[("a", period(10, 1, None)), ("b", period(20, 3, None))])
}

fn commands() -> Files {
    let make = Some("make");
    Files::new(&[("a", period(10, 1, make)), ("b", period(10, 3, make))])
}

/// The cycles of a phase after exits of a reason; without a reason, of the guest.
fn cycles(budgets: &[Budget], name: &str, phase: &str) -> u64 {
    let of = |budget: &Budget| -> u64 {
        if phase == "guest" {
            return budget.guest;
        }
        let rows = budget.spent.iter().filter(|row| &*row.name == name);
        let of_row = |cycles| {
            serde_json::to_value(cycles).unwrap()[phase]
                .as_u64()
                .unwrap()
        };
        rows.map(|row| of_row(row.cycles)).sum()
    };
    budgets.iter().map(of).sum()
}

fn close(value: &Value, number: f64) -> bool {
    let value = value.as_f64().unwrap();
    (value - number).abs() <= 1e-9 * number.abs().max(1e-9)
}

#[test]
fn budgets_and_reasons_are_compared() {
    insta::assert_snapshot!("periods_are_compared", periods().text(&["a", "b"]));
    insta::assert_snapshot!(
        "commands_are_compared",
        commands().text(&["--top", "3", "a", "b"])
    );
}

/// Each row is computed again, the simple way. Together they are all of the time.
#[test]
fn rows_are_as_a_naive_reader_has_them() {
    for (files, snapshots, seconds) in [
        (periods(), [period(10, 1, None), period(20, 3, None)], true),
        (
            commands(),
            [period(10, 1, Some("make")), period(10, 3, Some("make"))],
            false,
        ),
    ] {
        let json = files.json(&["a", "b"]);
        let rows = json["rows"].as_array().unwrap();
        let mut last = f64::INFINITY;
        let mut sums = [0; 2];
        for row in rows {
            let (name, phase) = (
                row["name"].as_str().unwrap(),
                row["phase"].as_str().unwrap(),
            );
            let mut times = Vec::new();
            for (index, side) in ["a", "b"].into_iter().enumerate() {
                let budgets = &snapshots[index].budgets;
                let cycles = cycles(budgets, name, phase);
                let elapsed: u64 = budgets.iter().map(|budget| budget.elapsed).sum();
                sums[index] += cycles;
                assert_eq!(row[side]["cycles"], cycles, "{row}");
                let share = cycles as f64 / elapsed as f64;
                assert!(close(&row[side]["time_percent"], share * 100.0), "{row}");
                // 2 GHz, and nanoseconds.
                let time = if seconds {
                    share * 1e9
                } else {
                    cycles as f64 / 2.0
                };
                assert!(close(&row[side]["time"], time), "{row}");
                times.push(time);
                if phase == "guest" {
                    assert!(row[side]["avg"].is_null(), "{row}");
                    continue;
                }
                let counters = snapshots[index].counters.iter();
                let exits: u64 = counters
                    .filter(|c| {
                        &*c.name == name && serde_json::to_value(&c.owner).unwrap() == "all"
                    })
                    .map(|c| c.exits)
                    .sum();
                assert_eq!(row[side]["exits"], exits, "{row}");
                assert!(
                    close(&row[side]["avg"], cycles as f64 / 2.0 / exits as f64),
                    "{row}"
                );
            }
            assert!(close(&row["time_change"], times[1] - times[0]), "{row}");
            if phase != "guest" {
                let change = (times[1] - times[0]).abs();
                assert!(change <= last + 1e-6, "{row}");
                last = change;
            }
        }
        for (index, sum) in sums.into_iter().enumerate() {
            let elapsed = snapshots[index].budgets.iter().map(|budget| budget.elapsed);
            assert_eq!(sum, elapsed.sum::<u64>());
            let budget = json["files"][index]["budget"].as_array().unwrap();
            let parts = budget.iter().map(|part| part["cycles"].as_u64().unwrap());
            assert_eq!(parts.sum::<u64>(), sum);
        }
        assert_eq!(rows[0]["phase"], "guest");
        assert_eq!(
            (&rows[1]["name"], &rows[1]["phase"]),
            (&"CPUID".into(), &"userspace".into())
        );
    }
}

#[test]
fn rows_can_be_chosen() {
    let files = periods();
    let json = files.json(&["--reason", "HLT", "--top", "2", "a", "b"]);
    let rows = json["rows"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["guest", "HLT", "HLT"]);
    let json = files.json(&["--vm", "977", "a", "b"]);
    let mut rows = json["rows"].as_array().unwrap().iter();
    assert!(rows.all(|row| row["phase"] != "preempted"), "{json}");
    assert!(
        close(&json["files"][0]["budget"][0]["percent"], 50.0),
        "{json}"
    );
    let csv = files.text(&["--format", "csv", "a", "b"]);
    let heads: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert!(
        heads.contains(&"phase") && heads.contains(&"b_avg"),
        "{csv}"
    );
    assert_eq!(
        csv.lines().filter(|line| line.ends_with(",guest")).count(),
        1
    );
    let none = files.text(&["--top", "0", "a", "b"]);
    assert!(
        none.contains("userspace") && !none.contains("CPUID  "),
        "{none}"
    );
    for arguments in [["--by", "vm"], ["--fail-above", "5%"]] {
        let run = files.diff(&[&arguments[..], &["a", "b"]].concat());
        assert_eq!(run.status.code(), Some(2), "{run:?}");
    }
}

/// Exits that were counted before phases were recorded would falsify averages.
#[test]
fn averages_are_of_periods() {
    let host = |seconds| {
        let host = Growing {
            phases: true,
            ..Growing::new()
        };
        Snapshot::from_text(&host.later(seconds).profile()).unwrap()
    };
    let files = Files::new(&[("a", host(0)), ("b", host(10))]);
    let json = files.json(&["a", "b"]);
    assert_eq!(json["continued"], true);
    let row = &json["rows"][1];
    assert!(
        row["a"]["avg"].is_null() && row["b"]["avg"].is_number(),
        "{row}"
    );
    assert!(row["avg_change"].is_null(), "{row}");
    let text = files.text(&["a", "b"]);
    assert!(text.contains("averages are unknown"), "{text}");
}

#[test]
fn a_recording_without_phases_is_refused() {
    let files = periods();
    let boot = data("boot.txt").display().to_string();
    let run = files.diff(&["a", &boot]);
    let error = String::from_utf8(run.stderr).unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(
        error.contains("B has no phases") && error.contains("parameters/phases"),
        "{error}"
    );
}
