// SPDX-License-Identifier: GPL-2.0

//! Exits of nested guests.

use super::{DETAILS, adds_up, json, lines, naive, number, run, told};
use crate::host::{data, exitprof, output};
use exitprof::{
    select::Level,
    snapshot::{Counter, Owner, Snapshot},
};
use serde_json::Value;
use std::collections::BTreeMap;

#[test]
fn exits_from_nested_guests_have_columns() {
    insta::assert_snapshot!(run(&["report", "--by", "vm,reason", "--vm", "977"]));
}

/// The sums of a field of the lines of vCPUs and of those that have ended, by reason.
fn nested(field: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for line in lines("vcpu").chain(lines("ended")) {
        let value = line.get(field).map_or(0, |value| value.parse().unwrap());
        *sums.entry(line["name"].to_owned()).or_default() += value;
    }
    sums
}

#[test]
fn nested_exits_are_the_sums_of_vcpus() {
    let report = json("Report", &["report"]);
    for row in report["rows"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        for field in ["l2", "l2_cycles", "reflected", "reflected_cycles"] {
            assert_eq!(number(row, field), nested(field)[name], "{field} of {name}");
        }
    }
    // Without them, nothing is known.
    let report = output(
        exitprof()
            .args(["report", "--format", "json", "-i"])
            .arg(data("host.txt")),
    );
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"][0]["l2"], Value::Null);
}

#[test]
fn levels_add_up() {
    let of_level = |level: &str| {
        let report = json("Report", &["report", "--all", "--level", level]);
        let rows = report["rows"].as_array().unwrap().clone();
        let sums = |row: &Value| {
            let numbers = ["exits", "cycles"].map(|column| number(row, column));
            (row["name"].as_str().unwrap().to_owned(), numbers)
        };
        rows.iter().map(sums).collect::<BTreeMap<_, _>>()
    };
    let [l1, l2, reflected] = ["l1", "l2", "reflected"].map(of_level);
    for (name, all) in nested("exits") {
        let sums = |level: &BTreeMap<String, [u64; 2]>| level.get(&name).copied().unwrap_or([0; 2]);
        assert_eq!(sums(&l1)[0] + sums(&l2)[0], all, "{name}");
        assert_eq!(sums(&l1)[1] + sums(&l2)[1], nested("cycles")[&name]);
        assert_eq!(sums(&l2), [nested("l2")[&name], nested("l2_cycles")[&name]]);
        let fields = ["reflected", "reflected_cycles"].map(|field| nested(field)[&name]);
        assert_eq!(sums(&reflected), fields);
    }
    // The same of a VM.
    let vm = json("Report", &["report", "--by", "vm", "--level", "l2"]);
    assert_eq!(vm["rows"].as_array().unwrap().len(), 1);
    assert_eq!(
        number(&vm["rows"][0], "exits"),
        nested("l2").values().sum::<u64>()
    );
}

#[test]
fn details_of_each_level_are_told_apart() {
    for level in [1, 2] {
        let level_name = format!("l{level}");
        let report = json(
            "DetailReport",
            &["report", "--details", "--level", &level_name],
        );
        let rows = report["rows"].as_array().unwrap();
        let mut own = naive(&[]);
        own.retain(|(.., of), _| *of == level);
        assert_eq!(told(rows), own, "{level_name}");
        assert!(own.len() > 2);
        adds_up(rows);
    }
    let code = run(&["report", "--by", "rip", "--level", "l2", "--format", "csv"]);
    let places = lines("vcpu_code").filter(|line| line["level"] == "2");
    assert_eq!(
        code.lines().filter(|line| line.contains("(L2)")).count(),
        places.count()
    );
}

#[test]
fn levels_are_known_while_no_vcpu_exits() {
    let mut snapshot = Snapshot::from_text(DETAILS).unwrap();
    let is_of_all = |counter: &Counter| counter.owner == Owner::All;
    snapshot.counters.retain(is_of_all);
    assert!(!snapshot.counters.is_empty());
    let l2 = snapshot.at_level(Level::L2).unwrap();
    assert!(l2.counters.is_empty());
    // Nobody counts by vCPU.
    snapshot.attached.clear();
    assert!(snapshot.at_level(Level::L2).is_err());
}
