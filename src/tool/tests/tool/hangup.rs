// SPDX-License-Identifier: GPL-2.0

//! `exitprof top` on a terminal that goes away, and while it is stopped.

use crate::{growing::Growing, host::Host};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::{Read, Write},
    os::fd::BorrowedFd,
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);

/// The tool on a terminal that only this holds open.
struct Terminal {
    _host: Host,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    output: Box<dyn Read + Send>,
    seen: Vec<u8>,
    child: Box<dyn Child + Send + Sync>,
}

impl Terminal {
    /// Starts it, after `before` in a shell.
    fn start(before: &str) -> Terminal {
        let host = Host::new(&Growing::new().profile());
        let size = PtySize {
            rows: 24,
            cols: 80,
            ..PtySize::default()
        };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("/bin/sh");
        command.env_clear();
        command.env("TERM", "xterm");
        let script = format!("{before} exec \"$0\" top -d 0.1 --debugfs \"$1\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_exitprof")]);
        command.arg(host.0.path());
        let mut terminal = Terminal {
            _host: host,
            child: pty.slave.spawn_command(command).unwrap(),
            keys: pty.master.take_writer().unwrap(),
            output: pty.master.try_clone_reader().unwrap(),
            master: pty.master,
            seen: Vec::new(),
        };
        terminal.until_seen("VMX:");
        terminal
    }

    /// Reads what it writes up to `text`.
    fn until_seen(&mut self, text: &str) {
        let begin = Instant::now();
        let is_text = |part: &[u8]| part == text.as_bytes();
        loop {
            let mut parts = self.seen.windows(text.len().max(1));
            if let Some(at) = parts.position(is_text) {
                self.seen.drain(..at + text.len());
                return;
            }
            // SAFETY: the terminal is open.
            let file = unsafe { BorrowedFd::borrow_raw(self.master.as_raw_fd().unwrap()) };
            let mut files = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
            let patience = Timespec::try_from(PATIENCE).unwrap();
            let came = poll(&mut files, Some(&patience)).unwrap();
            let seen = String::from_utf8_lossy(&self.seen);
            let is_late = came == 0 || begin.elapsed() > PATIENCE;
            assert!(!is_late, "no {text:?} in {seen:?}");
            let mut bytes = [0; 4096];
            let length = self.output.read(&mut bytes).unwrap();
            self.seen.extend(&bytes[..length]);
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap() as i32).unwrap()
    }

    /// The fields of its line in /proc, after its name.
    fn fields(&self) -> Vec<String> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = text.rsplit_once(") ").unwrap();
        fields.split(' ').map(str::to_owned).collect()
    }

    fn until_state(&self, state: &str) {
        let begin = Instant::now();
        while self.fields()[0] != state {
            assert!(begin.elapsed() < PATIENCE, "{:?}", self.fields());
            thread::sleep(TICK);
        }
    }

    /// Closes the terminal, and waits for the end of the tool.
    fn goes(self) {
        let Terminal {
            master,
            keys,
            output,
            mut child,
            ..
        } = self;
        drop((master, keys, output));
        let begin = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begin.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("outlives its terminal");
            }
            thread::sleep(TICK);
        }
        assert_eq!(child.wait().unwrap().exit_code(), 0);
    }
}

#[test]
fn it_ends_with_its_terminal() {
    for (keys, seen) in [
        ("", "ago"),
        ("p", "PAUSED"),
        ("?", "hide"),
        ("\x1b[", "ago"),
    ] {
        for before in ["", "trap '' HUP;"] {
            let mut terminal = Terminal::start(before);
            terminal.press(keys);
            terminal.until_seen(seen);
            terminal.goes();
        }
    }
}

#[test]
fn it_ends_with_its_terminal_while_stopped() {
    let terminal = Terminal::start("");
    kill_process(terminal.pid(), Signal::STOP).unwrap();
    terminal.until_state("T");
    let pid = terminal.pid();
    let goes = thread::spawn(|| terminal.goes());
    // The kernel itself continues only orphaned jobs.
    thread::sleep(TICK);
    let _ = kill_process(pid, Signal::CONT);
    goes.join().unwrap();
}

/// As a session of its own, it has no shell that could continue it.
#[test]
fn it_is_not_stopped_if_nobody_could_continue_it() {
    let mut terminal = Terminal::start("");
    terminal.press("\x1a");
    terminal.until_seen("\x1b[?1049l");
    terminal.until_seen("VMX:");
    terminal.press("q");
    assert_eq!(terminal.child.wait().unwrap().exit_code(), 0);
}

#[test]
fn ctrl_z_stops_it_and_gives_the_terminal_back() {
    // The shell remains, and controls it.
    let mut terminal = Terminal::start("set -m; echo $$; \"$0\" top --debugfs \"$1\"; fg;");
    terminal.press("\x1a");
    terminal.until_seen("\x1b[?1049l");
    // It is continued, and draws everything.
    terminal.until_seen("\x1b[?1049h");
    terminal.until_seen("VMX:");
    terminal.press("q");
    // Then the shell starts it once more.
    terminal.until_seen("\x1b[?1049h");
    terminal.until_seen("VMX:");
    terminal.press("q");
    assert_eq!(terminal.child.wait().unwrap().exit_code(), 0);
}

#[test]
fn while_nothing_changes_it_takes_no_time() {
    let mut terminal = Terminal::start("");
    terminal.press("p");
    terminal.until_seen("PAUSED");
    terminal.until_state("S");
    // Voluntary and other switches: without any, it has not run.
    let switches = || {
        let text = fs::read_to_string(format!("/proc/{}/status", terminal.pid())).unwrap();
        let lines = text.lines().filter(|line| line.contains("ctxt_switches"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let before = switches();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(switches(), before);
    terminal.goes();
}

/// Of a hangup, the kernel tells only the leader of the session: here the tool, as under ssh.
#[test]
fn a_command_ends_with_the_terminal() {
    let host = Host::new(&Growing::new().profile());
    let pty = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_exitprof"));
    let [debugfs, file] = ["", "file"].map(|name| host.0.path().join(name));
    command.args(["record", "--debugfs"]);
    command.args([&debugfs, &file]);
    command.args(["--", "sleep", "1000"]);
    let mut child = pty.slave.spawn_command(command).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.process_id().unwrap());
    let begin = Instant::now();
    while fs::read_to_string(&children).unwrap().is_empty() {
        assert!(begin.elapsed() < PATIENCE, "runs nothing");
        thread::sleep(TICK);
    }
    drop(pty);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begin.elapsed() > 2 * PATIENCE {
            child.kill().unwrap();
            panic!("outlives its terminal");
        }
        thread::sleep(TICK);
    };
    assert_eq!(status.exit_code(), 129);
    assert!(file.exists());
}
