// SPDX-License-Identifier: GPL-2.0

//! `exitprof record --interval` on a host whose counters change.

use super::open;
use crate::{
    growing::Growing,
    host::{Host, complaints, exitprof, output},
};
use exitprof::recording::Recording;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A host that is being recorded.
struct Recorded {
    host: Host,
    child: Child,
    file: PathBuf,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        // After a failure, it may still run.
        let _ = self.child.kill();
    }
}

impl Recorded {
    /// Starts with [`Growing::new`].
    fn start(arguments: &[&str]) -> Recorded {
        let host = Host::new(&Growing::new().profile());
        let file = host.0.path().join("series");
        let mut command = Command::new(env!("CARGO_BIN_EXE_exitprof"));
        command.arg("record").arg("--debugfs").arg(host.0.path());
        command.args(arguments).arg(&file);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        Recorded { host, child, file }
    }

    fn load(&self, growing: Growing) {
        self.host.load(&growing.profile());
    }

    /// What is there so far. Its last snapshot may be incomplete.
    fn recording(&self) -> Option<Recording> {
        open(fs::read(&self.file).ok()?).ok()
    }

    /// Waits until the last snapshot is of that many seconds.
    fn until(&self, seconds: u64) {
        let begin = Instant::now();
        let offset = Duration::from_secs(seconds);
        let is_there = |r: Recording| r.moments().last().unwrap().offset == offset;
        while !self.recording().is_some_and(is_there) {
            assert!(begin.elapsed() < PATIENCE, "no snapshot of {seconds} s");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it says until its end, with this status.
    fn ended(&mut self, code: Option<i32>) -> String {
        let said = complaints(&mut self.child);
        assert_eq!(self.child.wait().unwrap().code(), code, "{said}");
        said
    }

    /// What a report of the series says.
    fn report(&self, arguments: &[&str]) -> String {
        let mut report = exitprof();
        report.arg("report").args(arguments);
        output(report.arg("-i").arg(&self.file))
    }
}

#[test]
fn intervals_are_recorded_until_a_signal() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut recorded = Recorded::start(&["--interval", "0.02"]);
        recorded.until(0);
        for seconds in [1, 3, 60] {
            recorded.load(Growing::new().later(seconds));
            recorded.until(seconds);
        }
        recorded.send(signal);
        let said = recorded.ended(Some(0));
        assert_eq!(said, "");
        let mut recording = recorded.recording().unwrap();
        assert_eq!(recording.rest(), 0);
        assert!(
            recording
                .snapshots()
                .all(|snapshot| snapshot.unwrap().1.clock.is_some())
        );
        let told = recorded.report(&[]);
        assert!(
            told.contains("1200.0 exits/s on average over 60.0 s"),
            "{told}"
        );
    }
}

/// The interval that a signal ends is recorded, too.
#[test]
fn a_signal_ends_an_interval() {
    let mut recorded = Recorded::start(&["--interval", "1000"]);
    recorded.until(0);
    // Only now does it listen, at the latest.
    thread::sleep(Duration::from_millis(200));
    recorded.load(Growing::new().later(5));
    recorded.send(Signal::INT);
    recorded.ended(Some(0));
    assert_eq!(recorded.recording().unwrap().moments().len(), 2);
    recorded.until(5);
}

#[test]
fn a_number_of_intervals_or_a_time_is_recorded() {
    let mut recorded = Recorded::start(&["--interval", "0.01", "--count", "3"]);
    assert_eq!(recorded.ended(Some(0)), "");
    assert_eq!(recorded.recording().unwrap().moments().len(), 4);

    let begin = Instant::now();
    let mut recorded = Recorded::start(&["--interval", "0.4", "--for", "0.5"]);
    recorded.ended(Some(0));
    assert!(begin.elapsed() >= Duration::from_millis(500));
    // On a busy machine, the end of the first one may be missed.
    let snapshots = recorded.recording().unwrap().moments().len();
    assert!((2..=3).contains(&snapshots), "{snapshots}");
}

#[test]
fn what_was_recorded_survives_the_writer() {
    let mut recorded = Recorded::start(&["--interval", "0.02"]);
    recorded.until(0);
    recorded.load(Growing::new().later(7));
    recorded.until(7);
    recorded.send(Signal::KILL);
    recorded.ended(None);
    let told = recorded.report(&["--at", "end"]);
    assert!(told.contains("on average over 107 s"), "{told}");
    // As if it had been killed while it wrote.
    let bytes = fs::read(&recorded.file).unwrap();
    fs::write(&recorded.file, [&bytes, &bytes[16..100]].concat()).unwrap();
    let mut report = exitprof();
    report
        .args(["report", "--at", "end", "-i"])
        .arg(&recorded.file);
    let run = report.assert().success().get_output().clone();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(
        said.contains("its last 84 bytes are no complete snapshot"),
        "{said}"
    );
    assert_eq!(String::from_utf8(run.stdout).unwrap(), told);
}

/// A reset, and a module that is gone for a while.
#[test]
fn a_series_goes_on_with_other_counters() {
    let mut recorded = Recorded::start(&["--interval", "0.02"]);
    recorded.until(0);
    recorded.load(Growing::new().later(10));
    recorded.until(10);
    let mut told = BufReader::new(recorded.child.stderr.take().unwrap()).lines();
    let mut told = || told.next().unwrap().unwrap();
    let reset = |seconds: u64| {
        let profile = Growing::new().later(seconds).profile();
        profile
            .replace("epoch=7", "epoch=8")
            .replace("since_ns=0", "since_ns=111000000000")
    };
    recorded.host.load(&reset(20));
    assert!(told().contains("(the counters started from zero): the series goes on"));
    recorded.host.unload();
    assert!(told().ends_with("waiting for it to come back"));
    recorded.host.load(&reset(30));
    recorded.until(30);
    recorded.send(Signal::INT);
    assert_eq!(recorded.child.wait().unwrap().code(), Some(0));

    let mut report = exitprof();
    report.args(["report", "-i"]).arg(&recorded.file);
    let run = report.assert().success().get_output().clone();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!(
        said,
        "exitprof: the counters are not the same as before (the counters started from zero): \
         what follows was counted since they started\n"
    );
    let text = String::from_utf8(run.stdout).unwrap();
    assert!(text.contains("on average over 19.0 s"), "{text}");
    // Before and after that, nothing is special.
    for (from, to, seconds) in [("start", "10s", "10.0 s"), ("20s", "end", "10.0 s")] {
        let told = recorded.report(&["--between", from, to]);
        assert!(
            told.contains(&format!("on average over {seconds}")),
            "{told}"
        );
    }
}

#[test]
fn a_series_is_recorded_while_a_command_runs() {
    let host = Host::new(&Growing::new().profile());
    let new = host.0.path().join("new");
    fs::write(&new, Growing::new().later(4).profile()).unwrap();
    let file = host.0.path().join("series");
    let mut record = host.exitprof("record");
    record
        .env("PATH", "/usr/bin:/bin")
        .args(["--interval", "0.02"]);
    record
        .arg(&file)
        .args(["--", "sh", "-c", "mv $0 $1; sleep 0.3; exit 3"]);
    record
        .arg(new)
        .arg(host.0.path().join("kvm_exitprof/profile"));
    record.assert().code(3);
    let recording = open(fs::read(&file).unwrap()).unwrap();
    let moments = recording.moments();
    assert!(moments.len() > 2, "{moments:?}");
    assert_eq!(moments.last().unwrap().offset, Duration::from_secs(4));
}

#[test]
fn a_series_has_a_largest_size() {
    let mut recorded = Recorded::start(&["--interval", "0.01", "--max-size", "4K"]);
    let said = recorded.ended(Some(1));
    assert!(said.contains("--max-size allows no more"), "{said}");
    let size = fs::metadata(&recorded.file).unwrap().len();
    let recording = recorded.recording().unwrap();
    let each = size / recording.moments().len() as u64;
    assert!(size <= 4096 && size + each > 4000, "{size}");
    assert_eq!(recording.rest(), 0);

    let mut recorded = Recorded::start(&["--interval", "0.01", "--max-size", "100"]);
    let said = recorded.ended(Some(1));
    assert!(
        said.contains("more than --max-size") && !recorded.file.exists(),
        "{said}"
    );
}

#[test]
fn a_series_goes_through_a_pipe() {
    let host = Host::new(&Growing::new().profile());
    let record = "\"$0\" record --debugfs . --interval 0.01 --count 2 -";
    let report = "\"$0\" report --format json --all --at end -i -";
    let mut sh = Command::new("/bin/sh");
    sh.args([
        "-c",
        &format!("{record} | {report}"),
        env!("CARGO_BIN_EXE_exitprof"),
    ]);
    let run = sh.current_dir(host.0.path()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["seconds"], 100.0);
    assert_eq!(String::from_utf8(run.stderr).unwrap(), "");
}

#[test]
fn what_makes_no_series_is_refused() {
    for arguments in [
        &["--count", "3"][..],
        &["--interval", "0"],
        &["--interval", "1", "--count", "0"],
        &["--interval", "1", "--count", "3", "--for", "3"],
        &["--interval", "1", "--max-size", "0"],
        &["--interval", "1", "--max-size", "G"],
        &["--interval", "1", "--max-size", "99999999999G"],
        &["--max-size", "1G"],
    ] {
        let mut record = exitprof();
        record.arg("record").args(arguments).arg("/nowhere/file");
        record.assert().code(2);
    }
}
