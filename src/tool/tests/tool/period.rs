// SPDX-License-Identifier: GPL-2.0

//! Periods that are recorded, and control of the module.

use crate::{
    growing::Growing,
    host::{Host, exitprof, output},
    schema::check,
};
use serde_json::Value;
use std::{fs, path::PathBuf};

/// Records what is counted while the host's profile is replaced.
fn recorded(host: &Host, name: &str, before: Growing, after: Growing) -> PathBuf {
    host.load(&before.profile());
    let new = host.0.path().join("new");
    fs::write(&new, after.profile()).unwrap();
    let file = host.0.path().join(name);
    let mut record = host.exitprof("record");
    record
        .env("PATH", "/usr/bin:/bin")
        .arg(&file)
        .args(["--", "sh", "-c"]);
    let script = "mv $0 $1; echo done; exit 3";
    record
        .arg(script)
        .arg(new)
        .arg(host.0.path().join("kvm_exitprof/profile"));
    let run = record.assert().code(3).get_output().clone();
    assert_eq!((run.stdout, run.stderr), (b"done\n".to_vec(), vec![]));
    check(&fs::read_to_string(&file).unwrap(), "Snapshot");
    file
}

fn exits(json: &Value, side: &str) -> Value {
    json["rows"][0][side]["exits"].clone()
}

/// Whatever was counted between and before.
#[test]
fn two_periods_are_compared() {
    let host = Host::new("");
    let counts = Growing::new();
    let a = recorded(&host, "a", counts, counts.later(10));
    let b = recorded(&host, "b", counts.later(500), counts.later(520));
    let diff = |format| {
        let mut diff = exitprof();
        output(diff.args(["diff", "--format", format]).args([&a, &b]))
    };
    let json: Value = serde_json::from_str(&diff("json")).unwrap();
    assert_eq!(
        (&json["continued"], &json["separate"]),
        (&false.into(), &"period".into())
    );
    assert_eq!(
        (&json["seconds_a"], &json["seconds_b"]),
        (&10.0.into(), &20.0.into())
    );
    let hlt = (exits(&json, "a"), exits(&json, "b"));
    assert!([(2_000.into(), 4_000.into()), (10_000.into(), 20_000.into())].contains(&hlt));
    // A command does the same work, however long it takes.
    let table = diff("table");
    assert!(
        !table.contains("does not continue") && !table.contains("/s"),
        "{table}"
    );
    assert!(
        table.contains("10.0 s of sh -c mv ") || table.contains(" s of .."),
        "{table}"
    );
    assert!(
        table.contains("Exits           12000, then 24000 (+100%)"),
        "{table}"
    );
    let text = output(exitprof().args(["report", "-i"]).arg(a));
    assert!(
        text.contains("1200.0 exits/s on average over 10.0 s"),
        "{text}"
    );
}

/// A period and all that was counted are two counts, too.
#[test]
fn a_period_continues_nothing() {
    let host = Host::new("");
    let counts = Growing::new();
    let period = recorded(&host, "a", counts, counts.later(10));
    let all = host.0.path().join("all");
    fs::write(&all, counts.later(500).profile()).unwrap();
    for (a, b) in [(&period, &all), (&all, &period)] {
        let text = output(exitprof().args(["diff", "--format", "json"]).args([a, b]));
        assert!(text.contains("\"separate\":\"period\""), "{text}");
        let text = output(exitprof().arg("diff").args([a, b]));
        let why = "B does not continue A: one was counted in a period of its own";
        assert!(text.contains(why), "{text}");
    }
    let text = output(
        exitprof()
            .args(["diff", "--format", "json"])
            .args([&period, &period]),
    );
    assert!(text.contains("\"separate\":\"same\""), "{text}");
}

#[test]
fn a_period_of_time_is_recorded() {
    let host = Host::new(&Growing::new().profile());
    let text = output(host.exitprof("record").args(["--for", "0.05", "-"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["period"], serde_json::json!({ "command": null }));
    assert_eq!(json["rows"], serde_json::json!([]));
    host.exitprof("record")
        .args(["--for", "1", "-", "--", "true"])
        .assert()
        .code(2);
    // Before anything is waited for.
    host.exitprof("record")
        .args(["--for", "1000", "/nowhere/file"])
        .assert()
        .code(1);
    host.exitprof("record")
        .args(["/nowhere/file", "--", "sleep", "1000"])
        .assert()
        .code(1);
}

#[test]
fn the_module_is_controlled() {
    let host = Host::new("");
    let parameters = host.0.path().join("module/kvm_exitprof/parameters");
    let run = |arguments: &[&str]| {
        let mut command = exitprof();
        command
            .args(arguments)
            .arg("--sysfs")
            .arg(host.0.path())
            .assert()
    };
    let error = |arguments: &[&str]| {
        let run = run(arguments).code(1).get_output().clone();
        String::from_utf8(run.stderr).unwrap()
    };
    assert!(error(&["reset"]).contains("insmod kvm_exitprof.ko"));
    fs::create_dir_all(&parameters).unwrap();
    assert!(error(&["recording"]).contains("older than this exitprof"));
    for (arguments, name, value) in [
        (&["reset"][..], "reset", "1"),
        (&["recording", "off"], "recording", "0"),
        (&["recording", "on"], "recording", "1"),
    ] {
        run(arguments).success();
        assert_eq!(fs::read_to_string(parameters.join(name)).unwrap(), value);
    }
    for (value, says) in [("Y\n", "on\n"), ("N\n", "off\n")] {
        fs::write(parameters.join("recording"), value).unwrap();
        let run = run(&["recording"]).success().get_output().clone();
        assert_eq!(String::from_utf8(run.stdout).unwrap(), says);
    }
}

/// Commands may have several lines; and files may be hostile.
#[test]
fn commands_are_shown_in_one_line() {
    let host = Host::new(&Growing::new().profile());
    let mut record = host.exitprof("record");
    record
        .env("PATH", "/usr/bin:/bin")
        .args(["-", "--", "sh", "-c", "true\n#\u{1b}[2J"]);
    let file = host.0.path().join("file");
    fs::write(&file, output(&mut record)).unwrap();
    let text = output(exitprof().args(["report", "-i"]).arg(&file));
    assert!(text.contains(", while sh -c true # [2J ran\n"), "{text}");
    let text = output(exitprof().arg("diff").args([&file, &file]));
    assert!(text.contains(" of sh -c true # [2J\n"), "{text}");
}
