// SPDX-License-Identifier: GPL-2.0

//! Snapshots that continue each other, that do not, and that seem to.

use crate::host::{Host, PROFILE, complaints, data, exitprof};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// A guest's recording of `source` in version 1, after `seconds`. It has `percent` of the exits
/// in `seed.json`, of 900 cycles each.
fn guest(source: &str, seconds: u64, percent: u64) -> Value {
    let mut guest: Value = serde_json::from_str(include_str!("data/seed.json")).unwrap();
    guest["source"] = source.into();
    guest["time_ns"] = (seconds * 1_000_000_000).into();
    for row in guest["rows"].as_array_mut().unwrap() {
        let exits = row["exits"].as_u64().unwrap() * percent / 100;
        row["exits"] = exits.into();
        row["cycles"] = (exits * 900).into();
    }
    guest
}

/// Converts a recording to version 2, with an identity and a boot of the guest.
fn identified(mut guest: Value, identity: u64, boot: &str) -> Value {
    guest["version"] = 2.into();
    guest["identity"] = format!("{identity:016x}").into();
    guest["boot"] = boot.into();
    guest
}

/// What `exitprof diff` prints, or its error.
fn diff(a: &Path, b: &Path, format: &str) -> Result<String, String> {
    let mut diff = exitprof();
    let run = diff
        .args(["diff", "--format", format])
        .args([a, b])
        .output();
    let run = run.unwrap();
    let [out, error] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    if run.status.success() {
        Ok(out)
    } else {
        Err(error)
    }
}

/// Compares two recordings. No number in the JSON may have wrapped, and words and JSON must
/// agree.
fn compared(a: &Value, b: &Value) -> Result<Value, String> {
    let dir = TempDir::new().unwrap();
    let [file_a, file_b] = ["a", "b"].map(|name| dir.path().join(name));
    fs::write(&file_a, a.to_string()).unwrap();
    fs::write(&file_b, b.to_string()).unwrap();
    let json: Value = serde_json::from_str(&diff(&file_a, &file_b, "json")?).unwrap();
    let words = diff(&file_a, &file_b, "table").unwrap();
    assert!(words.lines().all(|line| line.len() <= 80), "{words}");
    for row in json["rows"].as_array().unwrap() {
        for side in ["a", "b"] {
            assert!(row[side]["exits"].as_u64().unwrap() < 1 << 40, "{row}");
        }
    }
    let separate = !json["separate"].is_null();
    assert_eq!(json["continued"], !separate);
    assert_eq!(
        words.contains("B does not continue A: "),
        separate,
        "{words}"
    );
    assert_eq!(words.contains("what was added since"), !separate, "{words}");
    Ok(json)
}

/// The host's counters go on while a guest reboots, but the guest's clock starts over.
#[test]
fn a_guests_clock_tells_no_order() {
    let (before, after) = (
        guest("guest_of_host", 3000, 100),
        guest("guest_of_host", 60, 130),
    );
    let json = compared(&before, &after).unwrap();
    assert_eq!(json["continued"], true);
    assert_eq!(json["presumed"], true);
    assert_eq!(json["seconds_b"], Value::Null);
    let violations = |json: &Value, side: &str| {
        let mut rows = json["rows"].as_array().unwrap().iter();
        rows.find(|row| row["reason"] == 48).unwrap()[side]["exits"].clone()
    };
    assert_eq!(violations(&json, "b"), 911_366 - 701_051);
    // These might belong to another load of the module.
    let json = compared(&after, &before).unwrap();
    assert_eq!(json["separate"], "fell");
    assert_eq!(violations(&json, "b"), 701_051);

    let [before, after] = [(before, "a"), (after, "b")].map(|(g, boot)| identified(g, 7, boot));
    let json = compared(&before, &after).unwrap();
    assert_eq!(
        (&json["continued"], &json["seconds_b"]),
        (&true.into(), &Value::Null)
    );
    let error = compared(&after, &before).unwrap_err();
    assert!(error.contains("swap them"), "{error}");
    let mut later = identified(guest("guest_of_host", 75, 131), 7, "b");
    later["reading"] = Value::Null;
    assert_eq!(compared(&after, &later).unwrap()["seconds_b"], 15.0);
}

#[test]
fn another_vm_or_vcpu_is_another_count() {
    for (source, why) in [("guest_of_vm", "vm"), ("guest_of_vcpu", "vcpu")] {
        let (first, second) = (guest(source, 3000, 100), guest(source, 3010, 50));
        assert_eq!(compared(&first, &second).unwrap()["separate"], "fell");
        let named = |guest: &Value, id| identified(guest.clone(), id, "a");
        // No matter which has counted more.
        for (a, b) in [(&first, &second), (&second, &first)] {
            let json = compared(&named(a, 7), &named(b, 8)).unwrap();
            assert_eq!(json["separate"], why);
        }
        let error = compared(&named(&first, 7), &named(&second, 7)).unwrap_err();
        assert!(error.contains("swap them"), "{error}");
        let mut reset = named(&second, 7);
        reset["epoch"] = 2.into();
        let json = compared(&named(&first, 7), &reset).unwrap();
        assert_eq!(json["separate"], "zero");
        let elsewhere = named(&guest("guest_of_host", 3010, 200), 7);
        let json = compared(&named(&first, 7), &elsewhere).unwrap();
        assert_eq!(json["separate"], "source");
    }
}

#[test]
fn a_module_that_was_loaded_again_is_another_count() {
    let again = PROFILE.replace("id=c3a5c85c97cb3127", "id=c3a5c85c97cb3128");
    let host = Host::new(&again);
    let file = host.0.path().join("kvm_exitprof/profile");
    let text = diff(&data("host-v2.txt"), &file, "table").unwrap();
    let why = "B does not continue A: the host differs, or its module was reloaded";
    assert!(text.contains(why), "{text}");
}

/// One counter is lower by one, while all others went on.
#[test]
fn a_counter_that_falls_makes_another_count() {
    let text = include_str!("data/host.txt");
    let lower = text
        .replace("time_ns=184", "time_ns=194")
        .replace("exits=403 cycles=15314", "exits=402 cycles=15300");
    let host = Host::new(&lower);
    let lower = host.0.path().join("kvm_exitprof/profile");
    for (a, b) in [
        (data("host.txt"), &lower),
        (lower.clone(), &data("host.txt")),
    ] {
        let text = diff(&a, b, "json").unwrap();
        assert!(text.lines().all(|line| !line.contains("184467")), "{text}");
    }
    let text = diff(&data("host.txt"), &lower, "table").unwrap();
    assert!(
        text.contains("B does not continue A: a counter is lower than before"),
        "{text}"
    );
}

#[test]
fn the_order_of_a_hosts_recordings_is_known() {
    let earlier = include_str!("data/host.txt")
        .replace("time_ns=184", "time_ns=174")
        .replace("exits=9241 cycles=40671938", "exits=9240 cycles=40670000");
    let host = Host::new(&earlier);
    let earlier = host.0.path().join("kvm_exitprof/profile");
    let error = diff(&data("host.txt"), &earlier, "table").unwrap_err();
    assert!(error.contains("swap them"), "{error}");
    let text = diff(&earlier, &data("host.txt"), "table").unwrap();
    assert!(text.contains("what was added since A, in 10.0 s"), "{text}");
}

#[test]
fn stat_says_that_nothing_is_recorded() {
    let host = Host::new(&PROFILE.replace("recording=1", "recording=0"));
    let run = host
        .exitprof("stat")
        .args(["--", "/bin/true"])
        .output()
        .unwrap();
    let text = String::from_utf8(run.stderr).unwrap();
    assert!(
        text.contains("Recording is off: no exits are being counted"),
        "{text}"
    );
}

/// `report --rate` must watch the counters that it has reported.
#[test]
fn the_rate_of_two_counts_is_none() {
    let host = Host::new(PROFILE);
    let mut report = Command::new(env!("CARGO_BIN_EXE_exitprof"));
    report.args(["report", "--rate", "5", "--debugfs"]);
    report
        .arg(host.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = report.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap().starts_with("Rate"))
        .unwrap()
        .unwrap();
    host.load(&PROFILE.replace("id=c3a5c85c97cb3127", "id=c3a5c85c97cb3128"));
    let says = "exitprof: the counters are not the same as before: the host differs, or its module \
                was reloaded\n";
    assert_eq!(complaints(&mut child), says);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_command_ends_as_it_does_though_nothing_was_measured() {
    for profile in ["", &PROFILE.replace("exits=2632", "exits=2631")] {
        let host = Host::new(PROFILE);
        let new = host.0.path().join("new");
        fs::write(&new, profile).unwrap();
        let profile = host.0.path().join("kvm_exitprof/profile");
        let mut stat = host.exitprof("stat");
        stat.env("PATH", "/usr/bin:/bin")
            .args(["--", "sh", "-c", "mv $0 $1; exit 5"])
            .args([new, profile]);
        let run = stat.assert().code(5).get_output().clone();
        let error = String::from_utf8(run.stderr).unwrap();
        let says = [
            "not a profile",
            "(a counter is lower than before): it is unknown",
        ];
        assert!(says.iter().any(|says| error.contains(says)), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
