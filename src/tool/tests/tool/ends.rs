// SPDX-License-Identifier: GPL-2.0

//! VMs, reasons, readings and readers that are gone in the middle of what is counted.

use crate::{growing::Growing, host::Host};
use serde_json::Value;
use std::{
    fs, io,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

const ENDED: Growing = Growing {
    epoch: 7,
    seconds: 102,
    ended: true,
    histograms: true,
    phases: false,
};

/// A host on which a command makes VM 977-14 end, and that command.
fn host(script: &str) -> (Host, [String; 5]) {
    let host = Host::new(&Growing::new().profile());
    fs::write(host.0.path().join("next"), ENDED.profile()).unwrap();
    let dir = host.0.path().display().to_string();
    let command = ["--", "/bin/sh", "-c", &format!("cd $0 && {script}"), &dir];
    (host, command.map(String::from))
}

fn texts(run: Output) -> (i32, String, String) {
    let [out, error] = [run.stdout, run.stderr].map(|text| String::from_utf8(text).unwrap());
    (run.status.code().unwrap(), out, error)
}

fn stat(arguments: &[&str], script: &str) -> (i32, String) {
    let (host, command) = host(script);
    let mut stat = host.exitprof("stat");
    let (code, _, text) = texts(stat.args(arguments).args(command).output().unwrap());
    (code, text)
}

#[test]
fn a_vm_that_ends_takes_nothing_with_it() {
    let end = "mv next kvm_exitprof/profile";
    let (code, text) = stat(&["--vm", "977"], end);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("In total        0 exits"), "{text}");
    for more in [&[][..], &["-r", "1"]] {
        let (code, text) = stat(&[&["--vm", "977", "--vm", "412"], more].concat(), end);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("1800"), "{text}");
    }
}

#[test]
fn a_reading_that_fails_leaves_the_runs_before() {
    let script = "if test -e next; then mv next kvm_exitprof/profile; \
                  else rm -f kvm_exitprof/profile; fi";
    let (code, text) = stat(&["-r", "3"], script);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("in each of 1 run"), "{text}");
    assert!(text.contains("profile is missing"), "{text}");
}

/// Compares the host with another file beside it.
fn diff(host: &Host, file: &str, arguments: &[&str]) -> Command {
    let mut diff = Command::new(env!("CARGO_BIN_EXE_exitprof"));
    diff.current_dir(host.0.path());
    diff.args(["diff", "kvm_exitprof/profile", file])
        .args(arguments);
    diff
}

#[test]
fn what_one_recording_lacks_hides_nothing_of_the_others() {
    let (host, _) = host("");
    for other in [["--vm", "977"], ["--reason", "HLT"]] {
        let mut diff = diff(&host, "next", &["--vm", "412", "--reason", "CPUID", "-j"]);
        let (code, out, error) = texts(diff.args(other).output().unwrap());
        assert_eq!(code, 0, "{error}");
        let json: Value = serde_json::from_str(&out).unwrap();
        let rows = json["rows"].as_array().unwrap();
        let cpuid = rows.iter().find(|row| row["name"] == "CPUID").unwrap();
        assert_eq!(cpuid["b"]["exits"], 1800, "{out}");
    }
    let (_, out, _) = texts(diff(&host, "next", &["--vm", "977"]).output().unwrap());
    assert!(out.contains("then 0ns (-100%)"), "{out}");
    let (code, _, error) = texts(diff(&host, "next", &["--vm", "5"]).output().unwrap());
    assert_eq!(code, 1);
    assert!(error.contains("there are 412-11, 977-14"), "{error}");
}

#[test]
fn a_recording_without_recording_is_told() {
    let (host, _) = host("");
    let text = ENDED.profile().replace("recording=1", "recording=0");
    fs::write(host.0.path().join("off"), text).unwrap();
    let (_, out, _) = texts(diff(&host, "off", &[]).output().unwrap());
    assert!(
        out.contains("B: recording was off, so exits are missing"),
        "{out}"
    );
}

#[test]
fn without_a_reader_the_status_is_the_same() {
    let (host, _) = host("");
    // In half the time, there are twice as many exits per second.
    let text = ENDED.profile().replace("time_ns=102", "time_ns=101");
    fs::write(host.0.path().join("more"), text).unwrap();
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut diff = diff(&host, "more", &["--fail-above", "10%"]);
    let run = diff.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let (code, _, error) = texts(run.wait_with_output().unwrap());
    assert_eq!(code, 3, "{error}");
}

#[test]
fn a_closed_output_is_an_error() {
    for command in ["schema", "--help"] {
        let mut sh = Command::new("/bin/sh");
        sh.args([
            "-c",
            "exec \"$0\" \"$1\" >&-",
            env!("CARGO_BIN_EXE_exitprof"),
            command,
        ]);
        let (code, _, error) = texts(sh.output().unwrap());
        assert_eq!(
            (code, error.as_str()),
            (1, "exitprof: the standard output is closed\n")
        );
    }
}

#[test]
fn nothing_runs_for_a_file_that_cannot_be_written() {
    let (host, command) = host("touch ran");
    let dir = host.0.path();
    fs::create_dir(dir.join("dir")).unwrap();
    for (name, to) in [("dangling", "nowhere/file"), ("loop", "loop")] {
        symlink(to, dir.join(name)).unwrap();
    }
    for file in ["dir", "dangling", "loop", "/proc/file"] {
        let mut record = host.exitprof("record");
        let run = record.arg(dir.join(file)).args(&command).output().unwrap();
        let (code, _, error) = texts(run);
        assert_eq!(code, 1, "{error}");
        assert!(error.contains(file), "{error}");
        assert!(!dir.join("ran").exists(), "{file}");
    }
}
