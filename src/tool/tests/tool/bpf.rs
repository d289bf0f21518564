// SPDX-License-Identifier: GPL-2.0

//! What BPF counted: what it is called, and what it is not mixed with. A recording stands for a
//! host.

use crate::{
    host::{Host, PROFILE, data, exitprof, output},
    schema::check,
};
use insta::assert_snapshot;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

/// What `exitprof report` prints of the recording.
fn report(arguments: &[&str]) -> String {
    output(
        exitprof()
            .args(["report", "-i"])
            .arg(data("bpf.json"))
            .args(arguments),
    )
}

/// What a run says when it must fail.
fn refusal(arguments: &[&str]) -> String {
    let output = exitprof()
        .args(arguments)
        .assert()
        .code(1)
        .get_output()
        .clone();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn heads_say_what_time_means() {
    assert_snapshot!(report(&[]));
    let perf = report(&["--as", "perf"]);
    assert!(
        perf.contains("from exit to entry, as perf measures them"),
        "{perf}"
    );
    assert!(perf.contains("5.60s"), "{perf}");
}

#[test]
fn nanoseconds_are_no_cycles() {
    // No word of cycles, and the same times.
    assert_eq!(report(&["--cycles"]), report(&[]));
    assert!(!report(&[]).contains("cycle"));
}

#[test]
fn programs_are_told_what_time_means() {
    let text = report(&["--json"]);
    check(&text, "Report");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&json["source"], &json["time_of"]),
        (&"bpf".into(), &"exit_to_entry".into())
    );
    assert_eq!(
        (&json["tsc_khz"], &json["missed"]),
        (&1_000_000.into(), &2.into())
    );
    let host = Host::new(PROFILE);
    let json: Value = serde_json::from_str(&output(host.exitprof("report").arg("--json"))).unwrap();
    assert_eq!(
        (&json["time_of"], &json["missed"]),
        (&"handler".into(), &Value::Null)
    );
    let metrics = report(&["--format", "openmetrics"]);
    assert!(
        metrics.contains("exitprof_counters_info{source=\"bpf\""),
        "{metrics}"
    );
}

#[test]
fn pictures_say_what_time_means() {
    for what in ["exits", "histogram", "heatmap"] {
        let mut plot = exitprof();
        plot.args(["plot", what, "--sort", "time", "-i"]);
        let picture = output(plot.arg(data("bpf.json")));
        assert!(picture.contains("from exit to entry"), "{picture}");
        assert!(!picture.contains("handle"), "{picture}");
    }
}

#[test]
fn details_are_shown_as_the_modules() {
    assert_snapshot!(report(&["--details"]));
    check(&report(&["--details", "--json"]), "DetailReport");
}

#[test]
fn what_bpf_cannot_see_is_said() {
    let input = data("bpf.json");
    let input = input.to_str().unwrap();
    for wrong in [&["--phases"][..], &["--by", "rip"]] {
        let mut arguments = vec!["report", "-i", input];
        arguments.extend(wrong);
        let error = refusal(&arguments);
        assert!(error.contains("the module kvm_exitprof does"), "{error}");
    }
}

#[test]
fn times_that_mean_different_things_are_not_compared() {
    let host = Host::new(PROFILE);
    let dir = TempDir::new().unwrap();
    let module = dir.path().join("module.json");
    host.exitprof("record").arg(&module).assert().success();
    let bpf = data("bpf.json");
    for files in [[&module, &bpf], [&bpf, &module]] {
        let [a, b] = files.map(|file| file.to_str().unwrap());
        let error = refusal(&["diff", a, b]);
        assert!(error.contains("A and B mean different things"), "{error}");
    }
    // Other runs of exitprof have other counters, whose times mean the same.
    let other = dir.path().join("other.json");
    let text = fs::read_to_string(&bpf).unwrap();
    fs::write(&other, text.replace("06d50f4f22129153", "16d50f4f22129153")).unwrap();
    let json = output(exitprof().args(["diff", "--json"]).args([&bpf, &other]));
    check(&json, "Diff");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["time_of"], "exit_to_entry");
}

#[test]
fn nothing_was_counted_before_exitprof_runs() {
    for arguments in [
        &["report"][..],
        &["report", "--rate", "10"],
        &["record", "-"],
        &["plot", "exits", "-o", "x.svg"],
    ] {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--source", "bpf"]);
        let error = refusal(&arguments);
        assert!(error.contains("report --for 10"), "{error}");
    }
}

#[test]
fn a_period_is_reported_from_any_source() {
    let host = Host::new(PROFILE);
    let text = output(host.exitprof("report").args(["--for", "0.01"]));
    assert!(text.contains("No exits."), "{text}");
    let picture = output(host.exitprof("plot").args(["exits", "--for", "0.01"]));
    assert!(
        picture.contains("Exits of all guests of this host"),
        "{picture}"
    );
    let wrong = ["report", "--for", "1", "--rate", "1"];
    exitprof().args(wrong).assert().code(2);
}
