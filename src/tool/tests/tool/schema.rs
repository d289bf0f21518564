// SPDX-License-Identifier: GPL-2.0

//! `exitprof schema` describes what is printed for programs.

use crate::{
    host::{Host, PROFILE, data, exitprof, output},
    validator::faults,
};
use exitprof::snapshot::{Snapshot, VERSION};
use serde_json::Value;
use std::collections::BTreeSet;

fn schema() -> Value {
    serde_json::from_str(&output(exitprof().arg("schema"))).unwrap()
}

/// Checks each line against the definition of that name.
pub fn check(text: &str, name: &str) {
    let mut schema = schema();
    schema["anyOf"] = serde_json::json!([{ "$ref": format!("#/$defs/{name}") }]);
    assert!(!text.is_empty());
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        // The faults of one of several are not told.
        let root = &schema;
        let mut one = root["$defs"][name].clone();
        one["$defs"] = root["$defs"].clone();
        assert_eq!(faults(&one, &value), [""; 0], "{line}");
        assert_eq!(faults(&schema, &value), [""; 0], "{line}");
    }
}

#[test]
fn what_is_printed_is_what_the_schema_allows() {
    let host = Host::new(PROFILE);
    check(&output(host.exitprof("record").arg("-")), "Snapshot");
    for file in [
        "host.txt",
        "host-v2.txt",
        "boot.txt",
        "seed.json",
        "guest-v2.json",
    ] {
        let run = |arguments: &[&str]| {
            let mut command = exitprof();
            output(command.args(arguments).arg(data(file)))
        };
        check(
            &run(&["report", "--format", "json", "--all", "-i"]),
            "Report",
        );
        let other = data("guest-v2.json").display().to_string();
        check(&run(&["diff", "--format", "json", &other]), "Diff");
    }
    let text = output(
        host.exitprof("report")
            .args(["--format", "json", "--by", "vcpu"]),
    );
    check(&text, "Report");
    let text = output(
        host.exitprof("stat")
            .args(["--format", "json", "0.01", "2"]),
    );
    check(&text, "Report");
}

/// So that the test above can fail.
#[test]
fn what_is_printed_otherwise_is_refused() {
    let text = output(
        exitprof()
            .args(["report", "--format", "json", "-i"])
            .arg(data("host.txt")),
    );
    for (from, to) in [
        ("\"exits\":9241", "\"exits\":\"9241\""),
        ("\"exits\":9241", "\"exits\":-1"),
        ("\"exits\":9241", "\"samples\":9241"),
        ("\"source\":\"host\"", "\"source\":\"moon\""),
        ("\"epoch\":7,", ""),
        ("\"from\":64,", "\"from\":null,"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        let value: Value = serde_json::from_str(&changed).unwrap();
        assert!(!faults(&schema(), &value).is_empty(), "{to}");
    }
}

/// Each column is described to people, too.
#[test]
fn every_column_is_in_the_help() {
    let help = output(exitprof().args(["schema", "--help"]));
    let words: BTreeSet<&str> = help.split_whitespace().collect();
    let diff = [data("host.txt"), data("boot.txt")];
    for csv in [
        output(
            exitprof()
                .args(["report", "--format", "csv", "-i"])
                .arg(data("host.txt")),
        ),
        output(exitprof().args(["diff", "--format", "csv"]).args(diff)),
    ] {
        for column in csv.lines().next().unwrap().split(',') {
            assert!(words.contains(column), "{column}");
        }
    }
}

#[test]
fn what_is_recorded_is_what_was_read() {
    let host = Host::new(PROFILE);
    let recorded = output(host.exitprof("record").arg("-"));
    let Snapshot { clock, machine, .. } = Snapshot::from_file(&recorded).unwrap();
    assert!(clock.is_some() && machine.is_some());
    let read = Snapshot {
        clock,
        machine,
        ..Snapshot::from_text(PROFILE).unwrap()
    };
    assert_eq!(Snapshot::from_file(&recorded).unwrap(), read);
    let file = host.0.path().join("snapshot.json");
    std::fs::write(&file, "old").unwrap();
    host.exitprof("record").arg(&file).assert().success();
    let again = std::fs::read_to_string(&file).unwrap();
    let again = Snapshot::from_file(&again).unwrap();
    assert_eq!(again.counters, read.counters);
    // Nothing else is left behind.
    assert_eq!(std::fs::read_dir(host.0.path()).unwrap().count(), 2);
}

/// CSV has what JSON has.
#[test]
fn csv_and_json_agree() {
    let report = |format| {
        output(
            exitprof()
                .args(["report", "--all", "--format", format, "-i"])
                .arg(data("host.txt")),
        )
    };
    let json: Value = serde_json::from_str(&report("json")).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let text = report("csv");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let head: Vec<String> = reader.headers().unwrap().iter().map(String::from).collect();
    let mut number = 0;
    for (record, row) in reader.records().zip(rows) {
        for (column, field) in head.iter().zip(&record.unwrap()) {
            let value = match &row[column] {
                Value::Null => String::new(),
                Value::Array(buckets) => {
                    let bucket = |b: &Value| format!("{}-{}:{}", b["from"], b["to"], b["exits"]);
                    buckets.iter().map(bucket).collect::<Vec<_>>().join(" ")
                }
                Value::String(text) => text.clone(),
                Value::Number(n) if n.is_f64() => {
                    // serde_json may read the last digit differently.
                    let [a, b] = [field.parse::<f64>().unwrap(), n.as_f64().unwrap()];
                    assert!((a - b).abs() <= a * 1e-12, "{column}: {a} and {b}");
                    continue;
                }
                other => other.to_string(),
            };
            assert_eq!(field, value, "{column}");
        }
        number += 1;
    }
    assert_eq!(number, rows.len());
    assert!(number > 70);
}

/// No other version is taken for this one, whatever else it changes.
#[test]
fn other_versions_are_refused() {
    let recorded = std::fs::read_to_string(data("seed.json")).unwrap();
    let profile = |version| {
        let head = format!("profile version={version} isa=vmx brand_new=1");
        let (_, rest) = PROFILE.split_once('\n').unwrap();
        format!("{head}\n{rest}")
    };
    let json = |version| recorded.replace("\"version\":1", &format!("\"version\":{version}"));
    for version in [0, 3, 1_u64 << 40] {
        for newer in [profile(version), json(version)] {
            let error = Snapshot::from_file(&newer).unwrap_err().to_string();
            let says =
                format!("has version {version}, but this exitprof reads only versions 1 to 2");
            assert!(error.contains(&says), "{error}");
        }
    }
}

/// Recordings of the first edition are read as what they were.
#[test]
fn version_1_is_read() {
    let text = include_str!("data/host.txt");
    let host = Snapshot::from_file(text).unwrap();
    assert_eq!((host.version, host.identity), (VERSION, None));
    assert_eq!(host.recording, Some(true));
    assert!(host.attached.iter().all(|vcpu| vcpu.id.is_none()));
    let json = include_str!("data/seed.json");
    let guest = Snapshot::from_file(json).unwrap();
    assert_eq!((guest.version, guest.identity), (VERSION, None));
    assert_eq!(guest.counters.len(), 16);
    let off = json.replace("\"sampling\":null", "\"sampling\":false");
    assert_eq!(Snapshot::from_file(&off).unwrap().recording, Some(false));
    let histogram = format!("{{\"min\":1,\"max\":9,\"log2\":{:?}}}", [7; 30]);
    let one = json.replacen(
        "\"distribution\":null",
        &format!("\"distribution\":{histogram}"),
        1,
    );
    let counters = Snapshot::from_file(&one).unwrap().counters;
    assert_eq!(counters[0].histogram.as_ref().unwrap().max, 9);
}
