// SPDX-License-Identifier: GPL-2.0

//! `exitprof exporter`: over HTTP, while the counters change, and how it begins and ends.

mod counters;
mod http;
mod large;
mod process;

use crate::{host::Host, metrics::Metrics};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
/// Longer than a page is used again.
const OLD: Duration = Duration::from_millis(1100);

/// A running exporter.
struct Exporter {
    child: Child,
    says: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl Exporter {
    /// One that reads `host`.
    fn new(host: &Host, arguments: &[&str]) -> Exporter {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exitprof"));
        command.args(["exporter", "--listen", "127.0.0.1:0", "--source", "host"]);
        command.arg("--debugfs").arg(host.0.path());
        command.arg("--procfs").arg(host.0.path().join("proc"));
        let mut child = command
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut says = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        let address = line.strip_prefix("exitprof: listening on http://");
        let address = address.and_then(|line| line.trim_end().strip_suffix("/metrics"));
        let address = address.expect(&line).parse().unwrap();
        Exporter {
            child,
            says,
            address,
        }
    }

    /// The head and body of the answer to a request.
    fn ask(&self, request: &str) -> (String, String) {
        answer(TcpStream::connect(self.address).unwrap(), request)
    }

    /// Its metrics, not from an earlier reading.
    fn metrics(&self) -> Metrics {
        thread::sleep(OLD);
        Metrics::new(&self.ask(&get("/metrics", OPEN_METRICS)).1)
    }

    /// What it says next.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line
    }

    /// Sends SIGTERM.
    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(path: &str, accept: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n")
}

fn answer(mut stream: impl Read + Write, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    (head.into(), body.into())
}
