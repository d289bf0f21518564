// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat` on a host whose counters change.

use crate::host::{Host, complaints, later, output};
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

/// Starts `exitprof stat`.
fn stat(host: &Host, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exitprof"));
    command
        .args(["stat", "--debugfs"])
        .arg(host.0.path())
        .args(arguments);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

/// The lines that it prints.
fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(pipe).lines().map(Result::unwrap)
}

#[test]
fn a_command_is_counted() {
    let host = Host::new(&later(7, 0, 0));
    let new = host.0.path().join("new");
    std::fs::write(&new, later(7, 2, 23)).unwrap();
    let profile = host.0.path().join("kvm_exitprof/profile");
    let mut command = host.exitprof("stat");
    command.args([
        "--format",
        "json",
        "--",
        "sh",
        "-c",
        "echo done; mv \"$0\" \"$1\"; exit 7",
    ]);
    let output = command
        .args([new, profile])
        .assert()
        .code(7)
        .get_output()
        .clone();
    assert_eq!(output.stdout, b"done\n");
    let json: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(json["total"]["exits"], 23);
    assert_eq!(json["seconds"], 2.0);
    assert_eq!(json["time"], 2.0);
    assert_eq!(json["rows"][0]["name"], "CPUID");
    assert_eq!(json["rows"][0]["avg"], 600.0);
}

#[test]
fn a_command_that_fails_gives_its_status() {
    let host = Host::new(&later(7, 0, 0));
    for (command, status) in [
        (&["sh", "-c", "exit 42"][..], 42),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["/nowhere/at/all"], 127),
        (&["/etc/passwd"], 126),
    ] {
        let mut stat = host.exitprof("stat");
        stat.env("PATH", "/usr/bin:/bin").arg("--").args(command);
        stat.assert().code(status);
    }
}

#[test]
fn figures_go_into_a_file() {
    let host = Host::new(&later(7, 0, 0));
    let file = host.0.path().join("figures");
    let mut stat = host.exitprof("stat");
    stat.env("PATH", "/usr/bin:/bin").env("CLICOLOR_FORCE", "1");
    let text = output(stat.arg("-o").arg(&file).args(["--", "echo", "hello"]));
    assert_eq!(text, "hello\n");
    let figures = std::fs::read_to_string(file).unwrap();
    assert!(figures.contains("unknown: no time has passed"), "{figures}");
    assert!(
        figures.contains("while echo ran") && !figures.contains('\x1b'),
        "{figures}"
    );
}

#[test]
fn a_mistake_leaves_the_file_as_it_was() {
    let host = Host::new(&later(7, 0, 0));
    let file = host.0.path().join("figures");
    std::fs::write(&file, "of yesterday").unwrap();
    let mut stat = host.exitprof("stat");
    stat.args(["--by", "vm", "--sort", "max", "-o"])
        .arg(&file)
        .args(["--", "/bin/true"]);
    stat.assert().code(1);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "of yesterday");
}

#[test]
fn intervals_are_counted_until_interrupted() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = stat(&host, &["0.05", "200", "--format", "csv"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("time,vm,vcpu,reason,name,exits,")
    );
    host.load(&later(7, 1, 23));
    let line = lines.next().unwrap();
    assert!(
        line.starts_with("1.000000,,,10,CPUID,23,100,13800,100,512,1023,600,"),
        "{line}"
    );
    host.load(&later(7, 3, 30));
    let line = lines.next().unwrap();
    assert!(
        line.starts_with("3.000000,,,10,CPUID,7,100,4200,100,512,1023,600,"),
        "{line}"
    );
    interrupt(&child);
    assert_eq!(lines.next(), None);
    assert_eq!(complaints(&mut child), "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reset_and_a_reload_are_told_and_survived() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = stat(
        &host,
        &["0.05", "200", "--format", "csv", "--reason", "CPUID"],
    );
    let mut lines = lines(child.stdout.take().unwrap());
    let mut complaints = self::lines(child.stderr.take().unwrap());
    lines.next().unwrap();
    // A selected reason is shown even in intervals without exits.
    let mut counted = || lines.find(|line| line.contains(",CPUID,4")).unwrap();

    host.load(&later(8, 2, 1));
    let line = counted();
    assert!(line.starts_with("2.000000,,,10,CPUID,445,"), "{line}");
    let text = complaints.next().unwrap();
    assert!(
        text.contains("not the same as before (the counters started from zero): what follows"),
        "{text}"
    );

    host.unload();
    let text = complaints.next().unwrap();
    assert!(
        text.contains("module is not loaded") && text.ends_with("waiting for it to come back"),
        "{text}"
    );
    host.load(&later(9, 4, 2));
    let line = counted();
    assert!(line.starts_with("4.000000,,,10,CPUID,446,"), "{line}");

    interrupt(&child);
    assert_eq!(complaints.count(), 1);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Below each table, and in the summary.
#[test]
fn each_interval_tells_what_was_not_timed() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = stat(&host, &["0.05", "200"]);
    let mut lines = lines(child.stdout.take().unwrap());
    lines.find(|l| l.contains("ending after 0.000 s")).unwrap();
    let before = "exits=487 cycles=32572 untimed=312";
    let after = "exits=587 cycles=36072 untimed=387";
    host.load(&later(7, 1, 0).replace(before, after));
    let words = "Not timed       MSR_WRITE: 75 of 100";
    lines.find(|line| line == words).unwrap();
    interrupt(&child);
    assert_eq!(lines.filter(|line| line == words).count(), 1);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn counting_begins_anew_with_other_counters() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = stat(&host, &["0.05", "200"]);
    let mut lines = lines(child.stdout.take().unwrap());
    let mut until = |ending: &str| lines.by_ref().take_while(|l| !l.contains(ending)).count();
    until("ending after 0.000 s");
    host.load(&later(7, 1, 23));
    until("ending after 1.000 s");
    // A counter is lower, for an unknown reason.
    host.load(&later(7, 2, 22));
    let mut complaints = self::lines(child.stderr.take().unwrap());
    assert_eq!(
        complaints.next().unwrap(),
        "exitprof: the counters are not the same as before (a counter is lower than before): \
         counting starts over"
    );
    host.load(&later(7, 5, 27));
    until("ending after 5.000 s");
    interrupt(&child);
    let told = lines.collect::<Vec<_>>().join("\n");
    assert!(told.contains("In total        5 exits"), "{told}");
    assert!(
        told.contains("Rate            1.7 exits/s on average over 3.00 s"),
        "{told}"
    );
    assert!(!told.contains("E "), "{told}");
    assert_eq!(complaints.count(), 0);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The summary after so many CPUIDs each second.
fn told_in_the_end(counts: &[u64]) -> String {
    let host = Host::new(&later(7, 0, 0));
    let mut child = stat(&host, &["0.05", "200"]);
    let mut lines = lines(child.stdout.take().unwrap());
    for (seconds, &cpuids) in (0..).zip(counts) {
        host.load(&later(7, seconds, cpuids));
        let ending = format!("ending after {seconds}.000 s");
        lines.find(|line| line.contains(&ending)).unwrap();
    }
    interrupt(&child);
    let told: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    told.join("\n")
}

#[test]
fn the_end_tells_whether_the_rate_was_stable() {
    let told = told_in_the_end(&[0, 10, 20, 30]);
    assert!(told.contains("In total        30 exits"), "{told}");
    let stable = "\
Stability       stable: 10.0 exits/s, deviation 0.00%
                (10.0 to 10.0 in 3 intervals)";
    assert!(told.contains(stable), "{told}");
    let told = told_in_the_end(&[0, 10, 110, 120]);
    let stable = "Stability       not stable: 40.0 exits/s, deviation 130%";
    assert!(told.contains(stable), "{told}");
}
