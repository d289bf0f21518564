// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat`, `record --for` and `report --rate`, while signals stop and end them.

use crate::{
    growing::Growing,
    host::{Host, later},
    schema::check,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn start(host: &Host, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exitprof"));
    command
        .arg(arguments[0])
        .arg("--debugfs")
        .arg(host.0.path());
    command.args(&arguments[1..]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    // A group of its own can be stopped, because its parent is in another one: an orphaned
    // process group cannot, and the group of these tests may be one.
    command.stderr(Stdio::piped()).process_group(0);
    command.spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until it catches SIGTERM.
fn until_it_listens(child: &Child) {
    let begin = Instant::now();
    loop {
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mut lines = text.lines();
        let caught = lines.find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
        if caught >> (Signal::TERM.as_raw() - 1) & 1 == 1 {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "does not listen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The lines up to one that contains `text`.
fn until(lines: &mut impl Iterator<Item = String>, text: &str) -> String {
    lines.find(|line| line.contains(text)).unwrap()
}

fn lines(pipe: impl Read) -> impl Iterator<Item = String> {
    BufReader::new(pipe).lines().map(Result::unwrap)
}

#[test]
fn what_was_counted_until_a_signal_is_printed() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for interval in [&["stat", "1000"][..], &["stat"]] {
            let host = Host::new(&later(7, 0, 0));
            let mut child = start(&host, interval);
            until_it_listens(&child);
            host.load(&later(7, 2, 23));
            send(&child, signal);
            let told = lines(child.stdout.take().unwrap())
                .collect::<Vec<_>>()
                .join("\n");
            assert!(told.contains("In total        23 exits"), "{told}");
            assert!(told.contains("Rate            11.5 exits/s"), "{told}");
            assert_eq!(child.wait().unwrap().code(), Some(0));
        }
    }
}

/// A report that is interrupted is whole.
#[test]
fn a_report_is_printed_though_its_rate_is_unknown() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = start(&host, &["report", "--rate", "1000", "--format", "json"]);
    until_it_listens(&child);
    send(&child, Signal::INT);
    let text = lines(child.stdout.take().unwrap()).collect::<String>();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["rate"], Value::Null);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_period_ends_early() {
    let host = Host::new(&later(7, 0, 0));
    let file = host.0.path().join("file");
    let arguments = ["record", "--for", "1000", file.to_str().unwrap()];
    let mut child = start(&host, &arguments);
    until_it_listens(&child);
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    check(&std::fs::read_to_string(file).unwrap(), "Snapshot");
}

#[test]
fn signals_are_for_the_command() {
    let host = Host::new(&later(7, 0, 0));
    let trap = "trap 'echo usr1; exit 9' USR1; trap 'exit 8' HUP; echo ready; while :; do sleep 0.05; done";
    for (signal, code) in [
        (Signal::TERM, 143),
        (Signal::INT, 130),
        (Signal::HUP, 8),
        (Signal::USR1, 9),
    ] {
        let mut child = start(&host, &["stat", "--", "/bin/sh", "-c", trap]);
        let mut out = lines(child.stdout.take().unwrap());
        until(&mut out, "ready");
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal:?}");
        let figures = lines(child.stderr.take().unwrap()).collect::<String>();
        assert!(figures.contains("In total"), "{figures}");
    }
}

#[test]
fn a_command_is_stopped_and_goes_on() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = start(
        &host,
        &["stat", "--", "/bin/sh", "-c", "echo $$; read line; exit 4"],
    );
    let pid = lines(child.stdout.take().unwrap()).next().unwrap();
    let state = |pid: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        text.rsplit_once(") ").unwrap().1[..1].to_owned()
    };
    send(&child, Signal::TSTP);
    let own = child.id().to_string();
    let begin = Instant::now();
    while [&pid, &own].iter().any(|pid| state(pid) != "T") {
        assert!(begin.elapsed() < PATIENCE, "is not stopped");
        thread::sleep(Duration::from_millis(10));
    }
    send(&child, Signal::CONT);
    // Ends the input of the command, too.
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

/// nohup has both ignore SIGHUP.
#[test]
fn what_is_ignored_remains_ignored() {
    let host = Host::new(&later(7, 0, 0));
    let mut command = Command::new("/bin/sh");
    let script =
        "trap '' HUP; exec \"$0\" stat --debugfs \"$1\" -- /bin/sh -c 'kill -HUP $$ $PPID; exit 6'";
    command.args(["-c", script, env!("CARGO_BIN_EXE_exitprof")]);
    let run = command.arg(host.0.path()).output().unwrap();
    assert_eq!(run.status.code(), Some(6), "{run:?}");
}

#[test]
fn the_status_is_kept_though_nothing_can_be_printed() {
    let host = Host::new(&later(7, 0, 0));
    for (command, code) in [("exit 5", 5), ("exit 0", 1)] {
        let arguments = ["stat", "-o", "/dev/full", "--", "/bin/sh", "-c", command];
        let mut child = start(&host, &arguments);
        let said = lines(child.stderr.take().unwrap()).collect::<String>();
        assert!(said.contains("No space left"), "{said}");
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

/// What passes while it is stopped is one interval.
#[test]
fn missed_deadlines_are_left_out() {
    let host = Host::new(&later(7, 0, 0));
    let mut child = start(&host, &["stat", "0.2", "6", "--format", "json"]);
    let mut out = lines(child.stdout.take().unwrap());
    let mut lengths = Vec::new();
    out.next().unwrap();
    send(&child, Signal::STOP);
    thread::sleep(Duration::from_secs(1));
    send(&child, Signal::CONT);
    let mut last = Instant::now();
    for _ in out {
        lengths.push(last.elapsed());
        last = Instant::now();
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    // One ends at once, the next when it would have without the stop, and the others in full,
    // unless this machine is late with one of them.
    assert_eq!(lengths.len(), 5, "{lengths:?}");
    let short = lengths[2..]
        .iter()
        .filter(|l| **l < Duration::from_millis(100));
    assert!(short.count() <= 1, "{lengths:?}");
}

/// What was counted cannot be written as long as nobody reads the pipe.
#[test]
fn signals_after_the_command_end_the_tool() {
    let host = Host::new(&later(7, 0, 0));
    let pipe = host.0.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut child = start(&host, &["record", pipe.to_str().unwrap(), "--", "true"]);
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < PATIENCE, "does not end");
        thread::sleep(Duration::from_millis(100));
        // The first may come before the command's end.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    }
}

#[test]
fn reasons_without_exits_at_first_get_columns() {
    let counts = Growing::new().profile();
    let (head, _) = counts.split_once('\n').unwrap();
    let host = Host::new(&format!("{head}\nend epoch=7 lines=2\n"));
    let mut child = start(&host, &["stat", "--line", "0.2"]);
    until_it_listens(&child);
    host.load(&Growing::new().later(2).profile());
    let mut lines = lines(child.stdout.take().unwrap());
    until(&mut lines, " CPUID ");
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
