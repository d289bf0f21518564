// SPDX-License-Identifier: GPL-2.0

//! `exitprof schema` describes what is printed for programs.

use crate::host::{Host, PROFILE, data, exitprof, output};
use exitprof::{
    commands::schema::SCHEMA,
    render::{Export, document::Document},
    snapshot::{Snapshot, VERSION},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// The names of all fields in `value`.
fn fields(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                into.insert(key.clone());
                fields(value, into);
            }
        }
        Value::Array(array) => array.iter().for_each(|value| fields(value, into)),
        _ => (),
    }
}

#[test]
fn every_field_is_described() {
    let host = Host::new(PROFILE);
    let snapshot = output(host.exitprof("record").arg("-"));
    let report = output(host.exitprof("report").args(["--format", "json"]));
    let diff = output(
        exitprof()
            .args(["diff", "--format", "json"])
            .args([data("seed.json"), data("host.txt")]),
    );
    let words = SCHEMA.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let described: BTreeSet<String> = words.map(String::from).collect();
    for text in [&snapshot, &report, &diff] {
        let mut used = BTreeSet::new();
        fields(&serde_json::from_str(text).unwrap(), &mut used);
        let missing: Vec<_> = used.difference(&described).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    for column in Document::columns() {
        assert!(described.contains(&column), "{column}");
    }
}

#[test]
fn what_is_recorded_is_what_was_read() {
    let host = Host::new(PROFILE);
    let recorded = output(host.exitprof("record").arg("-"));
    assert_eq!(
        Snapshot::from_file(&recorded).unwrap(),
        Snapshot::from_text(PROFILE).unwrap()
    );
    let file = host.0.path().join("snapshot.json");
    std::fs::write(&file, "old").unwrap();
    host.exitprof("record").arg(&file).assert().success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), recorded);
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
    assert_eq!(head, Document::columns());
    let mut number = 0;
    for (record, row) in reader.records().zip(rows) {
        for (column, field) in head.iter().zip(&record.unwrap()) {
            let value = match &row[column] {
                Value::Null => String::new(),
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
