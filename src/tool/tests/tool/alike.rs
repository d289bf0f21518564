// SPDX-License-Identifier: GPL-2.0

//! VMs with the same name, at once or one after the other.

use crate::host::{Host, output};
use serde_json::Value;
use std::fs;

/// Two vCPUs with the same name, in version 2.
const ONE: &str = "vcpu vm=412 vcpu=0 id=b492b66fbe98f273";
const TWO: &str = "vcpu vm=412 vcpu=0 id=17fb33f4a5d06c1e";

/// A profile with so many exits and cycles of each owner.
fn profile(version: u32, seconds: u64, owners: &[(&str, u64, u64)]) -> String {
    let [recording, histograms] = match version {
        1 => ["sampling", "distributions"],
        _ => ["id=aa recording", "histograms"],
    };
    let mut text = format!(
        "profile version={version} isa=vmx epoch=7 tsc_khz=2000000 time_ns={seconds}000000000 \
         since_ns=0 cpus=2 {recording}=1 per_vcpu=1 {histograms}=0\n"
    );
    for (owner, exits, cycles) in owners {
        text += &format!("{owner} reason=10 name=CPUID exits={exits} cycles={cycles}\n");
    }
    text + &format!("end epoch=7 lines={}\n", owners.len() + 2)
}

/// What `exitprof stat` counts while one profile replaces another: all exits, and the name,
/// exits and cycles of each row.
fn counted(before: &str, after: &str, by: &str) -> (u64, Vec<(String, u64, u64)>) {
    let host = Host::new(before);
    let new = host.0.path().join("new");
    fs::write(&new, after).unwrap();
    let profile = host.0.path().join("kvm_exitprof/profile");
    let mut stat = host.exitprof("stat");
    stat.env("PATH", "/usr/bin:/bin")
        .args(["--format", "json", "--by", by, "--", "mv"])
        .args([new, profile]);
    let run = stat.assert().success().get_output().clone();
    let json: Value = serde_json::from_slice(&run.stderr).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let row = |row: &Value| {
        let name = row["name"].as_str().unwrap().into();
        (name, number(&row["exits"]), number(&row["cycles"]))
    };
    let rows = json["rows"].as_array().unwrap().iter().map(row);
    (number(&json["total"]["exits"]), rows.collect())
}

/// Two VMs of a process that KVM's debugfs does not show. Each counts ten more exits.
#[test]
fn vcpus_of_one_name_without_identities_are_added_up() {
    let vcpu = "vcpu vm=412 vcpu=0";
    let before = [
        ("host", 150, 90_000),
        (vcpu, 100, 60_000),
        (vcpu, 50, 30_000),
    ];
    let after = [
        ("host", 170, 102_000),
        (vcpu, 110, 66_000),
        (vcpu, 60, 36_000),
    ];
    for (by, name) in [("vcpu", "412 vCPU 0"), ("vm", "412"), ("reason", "CPUID")] {
        let (total, rows) = counted(&profile(1, 100, &before), &profile(1, 101, &after), by);
        assert_eq!(total, 20, "{by}");
        assert_eq!(rows, [(name.into(), 20, 12_000)], "{by}");
    }
}

#[test]
fn vcpus_of_one_name_are_told_apart_by_their_identities() {
    let before = [("host", 150, 90_000), (ONE, 100, 60_000), (TWO, 50, 30_000)];
    let after = [
        ("host", 175, 105_000),
        (ONE, 115, 69_000),
        (TWO, 60, 36_000),
    ];
    let (before, after) = (profile(2, 100, &before), profile(2, 101, &after));
    let vcpu = |exits, cycles| ("412 vCPU 0".to_owned(), exits, cycles);
    let (_, rows) = counted(&before, &after, "vcpu");
    assert_eq!(rows, [vcpu(15, 9_000), vcpu(10, 6_000)]);
    // VMs have no identities.
    let (_, rows) = counted(&before, &after, "vm");
    assert_eq!(rows, [("412".into(), 25, 15_000)]);

    let host = Host::new(&after);
    let report = |arguments: &[&str]| {
        let mut report = host.exitprof("report");
        output(report.args(["--by", "vcpu"]).args(arguments))
    };
    let table = report(&[]);
    for row in ["412 vCPU 0 #b492   115", "412 vCPU 0 #17fb    60"] {
        assert!(table.contains(row), "{table}");
    }
    let csv = report(&["--format", "csv"]);
    assert!(
        csv.contains("412 vCPU 0,60,") && csv.contains(",17fb33f4a5d06c1e,"),
        "{csv}"
    );
}

/// One of two ends. What it had counted before is left out.
#[test]
fn a_vcpu_that_ends_is_taken_for_no_other() {
    let before = [("host", 150, 90_000), (ONE, 100, 60_000), (TWO, 50, 30_000)];
    let after = [
        ("host", 175, 105_000),
        (TWO, 60, 36_000),
        ("ended", 115, 69_000),
    ];
    let (total, rows) = counted(&profile(2, 100, &before), &profile(2, 101, &after), "vcpu");
    let ended = ("ended".into(), 15, 9_000);
    assert_eq!(
        (total, rows),
        (25, vec![ended, ("412 vCPU 0".into(), 10, 6_000)])
    );
}

/// A VM ends, and the next takes its name, with more exits but fewer cycles.
#[test]
fn the_next_vm_may_have_the_name() {
    let vcpu = "vcpu vm=412-11 vcpu=0";
    let before = [("host", 100, 900_000), (vcpu, 100, 900_000)];
    let after = [
        ("host", 210, 1_300_000),
        (vcpu, 110, 400_000),
        ("ended", 100, 900_000),
    ];
    let (_, rows) = counted(&profile(1, 100, &before), &profile(1, 110, &after), "vm");
    assert_eq!(rows, [("412-11".into(), 110, 400_000)]);
}

/// What does not fit is an error that says where.
#[test]
fn sums_beyond_64_bits_are_refused() {
    let vcpu = "vcpu vm=412 vcpu=0";
    let half = 1 << 63;
    for (exits, cycles) in [(half, 1), (1, half)] {
        let rows = [("host", 1, 1), (vcpu, exits, cycles), (vcpu, exits, cycles)];
        let host = Host::new(&profile(1, 100, &rows));
        let file = host.0.path().join("kvm_exitprof/profile");
        let run = host
            .exitprof("report")
            .assert()
            .code(1)
            .get_output()
            .clone();
        let says = format!(
            "exitprof: {}: line 4: more exits or cycles than fit into 64 bits\n",
            file.display()
        );
        assert_eq!(String::from_utf8(run.stderr).unwrap(), says);
    }
}
