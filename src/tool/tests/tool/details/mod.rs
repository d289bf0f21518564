// SPDX-License-Identifier: GPL-2.0

//! What is behind exits: `report --details`, `--by reason,detail`, `--by rip` and `--level`.

mod differences;
mod levels;
mod names;

use crate::{
    host::{Host, PROFILE, data, exitprof, output},
    schema::check,
};
use exitprof::snapshot::Snapshot;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A made-up profile of a host whose second VM has a nested guest. The last details of
/// EPT_VIOLATION of one vCPU are inexact.
const DETAILS: &str = include_str!("../data/details.txt");

/// A profile of version 2, and a vCPU's details, code, and exits from L2.
pub fn with_details(profile: &str) -> String {
    const VCPU: &str = " vm=412-11 vcpu=0 id=b492b66fbe98f273 reason=10 name=CPUID";
    let mut text = String::new();
    for line in profile.lines() {
        text += line;
        text += match line {
            _ if line.starts_with("profile ") => " details=cpuid code=exact\n",
            _ if line.starts_with(&format!("vcpu{VCPU} ")) => {
                " l2=100 l2_cycles=5000 reflected=60 reflected_cycles=2000\n"
            }
            _ => "\n",
        };
    }
    let (lines, end) = text.trim_end().rsplit_once('\n').unwrap();
    let epoch = end.split(' ').nth(1).unwrap();
    let more = format!(
        "vcpu_detail{VCPU} kind=cpuid level=1 key=1 exits=200 cycles=10000 error=0\n\
         vcpu_code{VCPU} level=1 rip=ffffffff8103c5d1 cpl=0 exits=200 cycles=10000 error=0\n"
    );
    let number = lines.lines().count() + 3;
    format!("{lines}\n{more}end {epoch} lines={number}\n")
}

/// What the tool prints for the profile.
fn run(arguments: &[&str]) -> String {
    let mut command = exitprof();
    let (name, rest) = arguments.split_first().unwrap();
    output(
        command
            .arg(name)
            .arg("-i")
            .arg(data("details.txt"))
            .args(rest),
    )
}

/// The same as JSON, which the schema describes.
fn json(definition: &str, arguments: &[&str]) -> Value {
    let text = run(&[arguments, &["--format", "json"]].concat());
    check(&text, definition);
    serde_json::from_str(&text).unwrap()
}

/// The fields of the lines of a kind.
fn lines(kind: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let lines = DETAILS.lines().filter_map(move |line| {
        let (own, fields) = line.split_once(' ')?;
        (own == kind).then_some(fields)
    });
    lines.map(|line| line.split(' ').filter_map(|f| f.split_once('=')).collect())
}

fn number(row: &Value, column: &str) -> u64 {
    row[column]
        .as_u64()
        .unwrap_or_else(|| panic!("{column}: {row}"))
}

#[test]
fn the_details_of_reasons_are_a_tree() {
    let text = run(&["report", "--details", "--top", "4"]);
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn the_details_of_a_reason_are_sorted_by_time() {
    insta::assert_snapshot!(run(&["report", "--details", "cpuid", "--sort", "time"]));
}

#[test]
fn details_are_csv() {
    insta::assert_snapshot!(run(&[
        "report",
        "--details",
        "IO_INSTRUCTION",
        "--top",
        "3",
        "--format",
        "csv"
    ]));
}

#[test]
fn places_in_the_guest_are_reported() {
    insta::assert_snapshot!(run(&["report", "--by", "rip", "--top", "5"]));
}

/// Naively: the sums of the profile's lines of the selected VMs, by reason, key and level.
fn naive(vms: &[&str]) -> BTreeMap<(String, String, u64), (u64, u64)> {
    let mut sums: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for kind in ["vcpu_detail", "ended_detail"] {
        for line in lines(kind) {
            if vms.is_empty() || line.get("vm").is_some_and(|vm| vms.contains(vm)) {
                let level = line["level"].parse().unwrap();
                let key = (line["name"].into(), line["key"].into(), level);
                let sum = sums.entry(key).or_default();
                sum.0 += line["exits"].parse::<u64>().unwrap();
                sum.1 += line["cycles"].parse::<u64>().unwrap();
            }
        }
    }
    sums
}

/// The details of a report, as [`naive`] has them.
fn told(rows: &[Value]) -> BTreeMap<(String, String, u64), (u64, u64)> {
    let details = rows.iter().filter(|row| row["part"] == "detail");
    let told = details.map(|row| {
        let text = |column: &str| row[column].as_str().unwrap().to_owned();
        let numbers = (number(row, "exits"), number(row, "cycles"));
        ((text("name"), text("key"), number(row, "level")), numbers)
    });
    told.collect()
}

#[test]
fn details_are_the_sums_of_vcpus() {
    for (vms, arguments) in [
        (vec![], vec!["report", "--details"]),
        (vec!["412-11"], vec!["report", "--details", "--vm", "412"]),
        (
            vec!["412-11", "977-14"],
            vec!["report", "--details", "-p", "412-11", "-p", "977"],
        ),
    ] {
        let report = json("DetailReport", &arguments);
        let told = told(report["rows"].as_array().unwrap());
        assert!(told.len() > 20);
        assert_eq!(told, naive(&vms), "{arguments:?}");
    }
}

/// Checks that each reason has as many exits and cycles as its parts.
fn adds_up(rows: &[Value]) {
    let mut reasons = 0;
    for reason in rows.iter().filter(|row| row["part"] == "reason") {
        let is_part = |row: &&Value| row["name"] == reason["name"] && row["part"] != "reason";
        let parts: Vec<&Value> = rows.iter().filter(is_part).collect();
        for column in ["exits", "cycles"] {
            let sum: u64 = parts.iter().map(|row| number(row, column)).sum();
            assert!(
                parts.is_empty() || sum == number(reason, column),
                "{reason}"
            );
        }
        reasons += usize::from(!parts.is_empty());
    }
    assert!(reasons > 0);
}

#[test]
fn details_and_others_add_up_to_the_reason() {
    for arguments in [
        vec!["report", "--details"],
        vec!["report", "--details", "--top", "2"],
        vec!["report", "--details", "--sort", "p99"],
        vec!["report", "--details", "--vm", "977", "--sort", "reason"],
        vec!["report", "--details", "CPUID", "--vcpu", "1"],
        vec!["report", "--details", "--reason", "48", "--top", "1"],
    ] {
        adds_up(json("DetailReport", &arguments)["rows"].as_array().unwrap());
    }
}

/// Rows of details and code add up to all exits.
#[test]
fn rows_of_details_and_code_add_up_to_all_exits() {
    for by in ["reason,detail", "rip", "rip,reason"] {
        let report = json("Report", &["report", "--by", by]);
        let rows = report["rows"].as_array().unwrap();
        let exits: u64 = rows.iter().map(|row| number(row, "exits")).sum();
        assert_eq!(exits, number(&report["total"], "exits"), "{by}");
        let column = if by == "reason,detail" { "key" } else { "rip" };
        assert_eq!(rows[0][column].as_str().map(str::len), Some(16), "{by}");
        let last = rows.last().unwrap();
        let others = [&last["name"], &last["owner"]].map(|name| name == "others" || name == "all");
        assert!(others.contains(&true), "{last}");
    }
}

/// What is not certain is told: of three vCPUs, one has lost keys of a kind.
#[test]
fn what_is_not_certain_is_told() {
    let report = json("DetailReport", &["report", "--details"]);
    let rows = report["rows"].as_array().unwrap();
    let inexact = |row: &&Value| row["error"].as_u64().is_some_and(|error| error > 0);
    let reasons: BTreeSet<&str> = (rows.iter().filter(inexact))
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, BTreeSet::from(["EPT_VIOLATION"]));
    let error = |key: &str| {
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        number(row, "error")
    };
    // Each vCPU has these; the highest error of one is 41.
    assert_eq!(error("0000000000020004"), 40);
    assert_eq!(error("00000000000a0002"), 41);
    assert_eq!(error("00000000febd1002"), 0);
    // Without that vCPU, all is certain.
    let report = json("DetailReport", &["report", "--details", "--vcpu", "0"]);
    assert!(
        !report["rows"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| inexact(&row))
    );
}

#[test]
fn stat_and_diff_know_details() {
    let host = Host::new(DETAILS);
    let later = host.0.path().join("later");
    let mut text = String::new();
    for line in DETAILS.lines() {
        let more = |line: &str, from: &str, to: &str| line.replacen(from, to, 1);
        text += &match line {
            _ if line.starts_with("profile ") => {
                more(line, "time_ns=184000000000", "time_ns=194000000000")
            }
            _ if line.starts_with("host reason=30 ") => more(
                line,
                "exits=2632 cycles=1239790",
                "exits=2732 cycles=1289790",
            ),
            _ if line.contains("vm=977-14") && line.contains("reason=30 ") => {
                let line = more(line, "exits=394 cycles=185968", "exits=494 cycles=235968");
                // 41 percent of 394.
                more(&line, "exits=161 cycles=", "exits=241 cycles=40")
            }
            _ => line.into(),
        };
        text += "\n";
    }
    std::fs::write(&later, text).unwrap();
    let script = format!(
        "cp {} {}/kvm_exitprof/profile",
        later.display(),
        host.0.path().display()
    );
    let text = output(host.exitprof("stat").args([
        "--by",
        "reason,detail",
        "--format",
        "json",
        "-o",
        "/dev/stdout",
        "--",
        "sh",
        "-c",
        &script,
    ]));
    let report: Value = serde_json::from_str(&text).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let told: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| (row["name"].as_str().unwrap(), number(row, "exits")))
        .collect();
    assert_eq!(told, [("outb 0x3f8 COM1 data (L2)", 80), ("others", 20)]);
    let text = output(
        exitprof()
            .args(["diff", "--by", "reason,detail", "--format", "json"])
            .args([data("details.txt"), later]),
    );
    check(&text, "Diff");
    let diff: Value = serde_json::from_str(&text).unwrap();
    let rows = diff["rows"].as_array().unwrap();
    let com1 = rows
        .iter()
        .find(|row| row["name"] == "outb 0x3f8 COM1 data (L2)");
    assert_eq!(com1.unwrap()["b"]["exits"], 80);
    assert_eq!(com1.unwrap()["owner"], "IO_INSTRUCTION");
}

#[test]
fn a_recording_keeps_details() {
    let host = Host::new(DETAILS);
    let text = output(host.exitprof("record").arg("-"));
    check(&text, "Snapshot");
    let recorded = Snapshot::from_file(&text).unwrap();
    let read = Snapshot::from_text(DETAILS).unwrap();
    assert_eq!(recorded.details, read.details);
    assert_eq!(recorded.places, read.places);
    assert_eq!(recorded.counters, read.counters);
    assert_eq!(recorded.detail_kinds.len(), 7);
    // A profile without details is recorded as before.
    let text = output(Host::new(PROFILE).exitprof("record").arg("-"));
    assert!(
        !text.contains("detail") && !text.contains("nested"),
        "{text}"
    );
}

#[test]
fn without_details_the_report_says_how_to_get_them() {
    let host = Host::new(PROFILE);
    for (arguments, says) in [
        (
            vec!["--details"],
            "/sys/module/kvm_exitprof/parameters/details",
        ),
        (
            vec!["--by", "rip"],
            "/sys/module/kvm_exitprof/parameters/code",
        ),
        (vec!["--level", "l2"], "per_vcpu=1"),
    ] {
        let report = host.exitprof("report").args(&arguments).assert().failure();
        let text = String::from_utf8(report.get_output().stderr.clone()).unwrap();
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn guests_have_no_details() {
    let report = exitprof()
        .args(["report", "--details", "-i"])
        .arg(data("guest-v2.json"))
        .assert()
        .failure();
    let text = String::from_utf8(report.get_output().stderr.clone()).unwrap();
    assert!(text.contains("a guest cannot see details"), "{text}");
}

#[test]
fn what_details_do_not_have_is_refused() {
    for (arguments, says) in [
        (vec!["--by", "rip", "--net"], "--net"),
        (
            vec!["--by", "reason,detail", "--level", "reflected"],
            "--level l2",
        ),
        (vec!["--details", "IOO"], "there is no reason"),
        (vec!["--details", "--phases"], "cannot be used with"),
        (vec!["--phases", "--level", "l2"], "cannot be used with"),
        (
            vec!["--details", "--vm", "412", "--sort", "p99"],
            "no such column",
        ),
        (vec!["--by", "rip", "--format", "openmetrics"], "no details"),
        (vec!["--level", "l1", "--format", "prometheus"], "--level"),
    ] {
        let mut report = exitprof();
        let report = report
            .args(["report", "-i"])
            .arg(data("details.txt"))
            .args(&arguments)
            .assert()
            .failure();
        let text = String::from_utf8(report.get_output().stderr.clone()).unwrap();
        assert!(text.contains(says), "{text}");
    }
}
