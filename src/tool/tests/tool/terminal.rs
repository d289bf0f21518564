// SPDX-License-Identifier: GPL-2.0

//! `exitprof top` in a real terminal.

use crate::{
    growing::Growing,
    host::{Host, output},
};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(30);
const ENTER: &str = "\r";
const ESC: &str = "\x1b";
const DOWN: &str = "\x1b[B";

/// A terminal in which the tool runs, and the host that it reads.
struct Terminal {
    host: Host,
    /// What the host counts; `None` if its module is not loaded.
    counts: Option<Growing>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Terminal {
        Terminal::start_with(size(24, 80), arguments)
    }

    /// Starts on a terminal that claims to have `size`, but has 80x24.
    fn start_with(size: PtySize, arguments: &[&str]) -> Terminal {
        let counts = Growing::new();
        let host = Host::new(&counts.profile());
        let pty = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_exitprof"));
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.args(["top", "-d", "0.1", "--debugfs"]);
        command.arg(host.0.path());
        command.args(arguments);
        let child = pty.slave.spawn_command(command).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(24, 80, 0)));
        let mut output = pty.master.try_clone_reader().unwrap();
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..length]);
            }
        });
        Terminal {
            host,
            counts: Some(counts),
            keys: pty.master.take_writer().unwrap(),
            master: pty.master,
            child,
            screen,
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn contents(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Lets the host go on counting until the screen is as expected.
    fn until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        while !is_so(&self.contents()) {
            assert!(
                begin.elapsed() < PATIENCE,
                "{what} is not to be seen:\n{}",
                self.contents()
            );
            if let Some(counts) = &mut self.counts {
                *counts = counts.later(1);
                self.host.load(&counts.profile());
            }
            thread::sleep(TICK);
        }
    }

    fn until_seen(&mut self, text: &str) {
        self.until(text, |screen| screen.contains(text));
    }

    fn resize(&mut self, rows: u16, columns: u16) {
        self.screen.lock().unwrap().set_size(rows, columns);
        self.master.resize(size(rows, columns)).unwrap();
    }

    /// Waits for a successful end that restores the terminal.
    fn ends(mut self) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "does not end");
            thread::sleep(TICK);
        };
        assert_eq!(status.exit_code(), 0, "{status:?}");
        let is_restored =
            |terminal: &vt100::Screen| !terminal.alternate_screen() && !terminal.hide_cursor();
        while !is_restored(self.screen.lock().unwrap().screen()) {
            assert!(begin.elapsed() < PATIENCE, "the screen is not restored");
            thread::sleep(TICK);
        }
        let modes = self.master.get_termios().unwrap();
        let flags = format!("{:?}", modes.local_flags);
        assert!(flags.contains("ICANON"), "still in raw mode: {flags}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may still run after a failure.
        let _ = self.child.kill();
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        pixel_width: 0,
        pixel_height: 0,
    }
}

/// The words of the line that starts with `name`.
fn line<'a>(screen: &'a str, name: &str) -> Vec<&'a str> {
    let lines = screen.lines().map(|line| line.split_whitespace());
    let mut words = lines.map(|words| words.collect::<Vec<_>>());
    words
        .find(|words| words.first() == Some(&name))
        .unwrap_or_default()
}

/// Whether both lines are there, that of `first` above that of `second`.
fn in_order(screen: &str, first: &str, second: &str) -> bool {
    let at = |name: &str| screen.lines().position(|line| line.starts_with(name));
    matches!((at(first), at(second)), (Some(a), Some(b)) if a < b)
}

#[test]
fn rates_are_shown_and_sorted() {
    let mut terminal = Terminal::start(&[]);
    terminal.until("a rate of 1000", |s| {
        line(s, "CPUID").get(1) == Some(&"1000")
    });
    terminal.until("a rate of 200", |s| line(s, "HLT").get(1) == Some(&"200"));
    terminal.until_seen("1200 exits/s");
    terminal.until("the rate's order", |s| in_order(s, "CPUID", "HLT"));
    terminal.press("ss");
    terminal.until("the time's order", |s| in_order(s, "HLT", "CPUID"));
    terminal.press("<");
    terminal.until("the exits' order", |s| in_order(s, "CPUID", "HLT"));
    terminal.press("q");
    terminal.ends();
}

#[test]
fn a_vm_is_entered_and_ends() {
    let mut terminal = Terminal::start(&[]);
    terminal.press("v");
    terminal.until("both VMs", |s| in_order(s, "412-11", "977-14"));
    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.until_seen("Exits of VM 977-14");
    terminal.until("its CPUIDs", |s| {
        line(s, "CPUID").get(1) == Some(&"100.0") || line(s, "CPUID").get(1) == Some(&"100")
    });
    terminal.counts.as_mut().unwrap().ended = true;
    terminal.until_seen("VM 977-14 has ended.");
    terminal.until("the list", |s| {
        in_order(s, "VM", "412-11") && !s.contains("\n977-14")
    });
    terminal.press("q");
    terminal.ends();
}

#[test]
fn a_histogram_and_the_help_hide_the_list() {
    let mut terminal = Terminal::start(&["--cycles"]);
    terminal.until_seen("CPUID");
    terminal.press(ENTER);
    terminal.until("the bucket", |s| {
        s.lines()
            .any(|line| line.contains("512 -   1024") && line.ends_with('#'))
    });
    terminal.press("?");
    terminal.until_seen("sort by the next column");
    terminal.press(ESC);
    terminal.until_seen("Exits/s");
    terminal.press("\x03");
    terminal.ends();
}

#[test]
fn bars_show_where_time_goes() {
    let mut terminal = Terminal::start(&["--phases"]);
    terminal.until_seen("parameters/phases");
    terminal.counts.as_mut().unwrap().phases = true;
    terminal.until("a bar", |s| {
        line(s, "412-11")
            .last()
            .is_some_and(|bar| bar.starts_with("====="))
            && s.contains("= Guest")
    });
    terminal.press("v");
    terminal.until("VMs", |s| {
        in_order(s, "VM", "412-11") && !s.contains("412-11 vCPU")
    });
    terminal.press("t");
    terminal.until_seen("Exits/s");
    terminal.press("q");
    terminal.ends();
}

#[test]
fn the_module_goes_and_comes_back() {
    let mut terminal = Terminal::start(&[]);
    terminal.until_seen("1200 exits/s");
    terminal.counts = None;
    terminal.host.unload();
    terminal.until_seen("the module is not loaded");
    // Its counters have started from zero.
    terminal.counts = Some(Growing {
        epoch: 8,
        seconds: 1000,
        ..Growing::new()
    });
    terminal.until_seen("New baseline");
    terminal.until("no error", |s| !s.contains("not loaded"));
    terminal.until_seen("1200 exits/s");
    terminal.press(ESC);
    terminal.until_seen("q quits");
    terminal.press("q");
    terminal.ends();
}

#[test]
fn any_size_is_filled() {
    let mut terminal = Terminal::start(&[]);
    terminal.until_seen("Max");
    terminal.resize(5, 20);
    terminal.until("less", |s| s.contains("Exits/s") && !s.contains("Max"));
    terminal.resize(1, 1);
    terminal.resize(24, 80);
    terminal.until_seen("Max");
    terminal.press("q");
    terminal.ends();
}

/// What is drawn on an enormous screen is in its place, after it was an ordinary one.
#[test]
fn an_enormous_screen_is_filled_in_part() {
    let mut terminal = Terminal::start(&[]);
    terminal.until_seen("1200 exits/s");
    terminal.resize(300, 400);
    terminal.until("its last line", |s| {
        s.lines().nth(162).is_some_and(|l| l.starts_with("? help"))
    });
    terminal.until("its first lines", |s| {
        s.starts_with("VMX: ") && line(s, "CPUID").get(1) == Some(&"1000")
    });
    terminal.resize(24, 80);
    terminal.until("a line", |s| {
        s.lines().nth(23).is_some_and(|l| l.starts_with("? help"))
    });
    terminal.press("q");
    terminal.ends();
}

#[test]
fn a_console_need_not_know_its_size() {
    let mut terminal = Terminal::start_with(size(0, 0), &[]);
    terminal.until_seen("1200 exits/s");
    terminal.press("q");
    terminal.ends();
}

#[test]
fn a_signal_ends_it_in_order() {
    let mut terminal = Terminal::start(&["--vm", "412"]);
    terminal.until_seen("Exits of VM 412");
    let pid = terminal.child.process_id().unwrap().to_string();
    let kill = std::process::Command::new("kill").arg(&pid).status();
    assert!(kill.unwrap().success());
    terminal.ends();
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let host = Host::new(&Growing::new().profile());
    let run = host.exitprof("top").assert().failure();
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains("exitprof stat"), "{said}");
}

#[test]
fn rows_are_filtered_and_read_more_often() {
    let mut terminal = Terminal::start(&[]);
    terminal.until("a rate of 200", |s| line(s, "HLT").get(1) == Some(&"200"));
    terminal.press("/hlx\x7f");
    terminal.until("what is typed", |s| {
        s.contains("/hl_") && !s.contains("CPUID")
    });
    terminal.press(ENTER);
    terminal.until_seen("only \"hl\"");
    terminal.press("+");
    terminal.until_seen("every 0.2 s");
    terminal.press("-");
    terminal.until_seen("every 0.1 s");
    terminal.press(ESC);
    terminal.until("all rows", |s| s.contains("CPUID") && s.contains("total"));
    terminal.press("q");
    terminal.ends();
}

#[test]
fn so_many_readings_are_the_end() {
    let mut terminal = Terminal::start(&["-n", "3"]);
    terminal.until("the end", |s| s.trim().is_empty());
    terminal.ends();
}

/// As top -b.
#[test]
fn screens_are_printed_without_a_terminal() {
    let host = Host::new(&Growing::new().profile());
    let mut top = host.exitprof("top");
    let text = output(top.args(["-b", "-n", "2", "-d", "0.1", "--by", "vm"]));
    let screens: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(screens.len(), 2, "{text}");
    assert!(
        screens[0].contains("\nNo exits since the baseline."),
        "{text}"
    );
    assert!(!text.contains("quit"), "{text}");
    let mut top = host.exitprof("top");
    let text = output(top.args(["-b", "-n", "1", "-d", "0.1", "--phases"]));
    assert!(text.contains("write Y to"), "{text}");
    host.exitprof("top")
        .args(["-b", "-n", "0"])
        .assert()
        .code(2);
    host.exitprof("top")
        .args(["-b", "-p", "5"])
        .assert()
        .code(1);
    host.exitprof("top")
        .args(["-b", "-p", "412", "--by", "vm"])
        .assert()
        .code(2);
}
