// SPDX-License-Identifier: GPL-2.0

//! How it begins and ends.

use super::{Exporter, OPEN_METRICS, answer, get};
use crate::{
    growing::Growing,
    host::{Host, exitprof, output},
};
use clap::Parser;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

#[test]
fn what_has_begun_is_finished_at_the_end() {
    let host = Host::new(&Growing::new().profile());
    let mut exporter = Exporter::new(&host, &[]);
    let request = get("/metrics", OPEN_METRICS);
    let (half, rest) = request.split_at(20);
    let mut stream = TcpStream::connect(exporter.address).unwrap();
    stream.write_all(half.as_bytes()).unwrap();
    // So that it has accepted the other.
    exporter.ask(&get("/", "*/*"));
    exporter.terminate();
    thread::sleep(Duration::from_millis(200));
    let (head, _) = answer(stream, rest);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let status = exporter.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(TcpStream::connect(exporter.address).is_err());
}

#[test]
fn a_port_in_use_is_told() {
    let host = Host::new(&Growing::new().profile());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = host
        .exitprof("exporter")
        .args(["--listen", &address])
        .assert()
        .code(1);
    let says = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(
        says.contains("choose another with --listen: Address already in use"),
        "{says}"
    );
    exitprof()
        .args(["exporter", "--listen", "10777"])
        .assert()
        .code(2);
}

/// As systemd passes them: as descriptor 3.
#[test]
fn sockets_are_taken_over() {
    let host = Host::new(&Growing::new().profile());
    let dir = host.0.path();
    let path = dir.join("socket");
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let run = |socket: OwnedFd| {
        let script = "exec 3<&0; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        let mut sh = Command::new("/bin/sh");
        sh.args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_exitprof"),
            "exporter",
            "--debugfs",
        ]);
        sh.arg(dir).stdin(socket).stderr(Stdio::piped());
        let mut child = sh.spawn().unwrap();
        let mut says = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        says.read_line(&mut line).unwrap();
        (child, line)
    };
    let request = get("/metrics", OPEN_METRICS);
    let (mut child, line) = run(unix.into());
    assert_eq!(line, "exitprof: listening on a Unix socket\n");
    let (head, _) = answer(UnixStream::connect(&path).unwrap(), &request);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut child, line) = run(tcp.into());
    assert_eq!(
        line,
        format!("exitprof: listening on http://{address}/metrics\n")
    );
    let (head, _) = answer(TcpStream::connect(address).unwrap(), &request);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    child.kill().unwrap();
    child.wait().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let (mut child, line) = run(file.into());
    assert!(line.contains("not one to listen on"), "{line}");
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn examples_of_its_help_are_right() {
    let help = output(exitprof().args(["exporter", "--help"]));
    let (_, examples) = help.split_once("\nExamples:\n").unwrap();
    let mut count = 0;
    for example in examples.lines() {
        let words = example
            .split_whitespace()
            .map(|word| word.trim_matches('\''));
        let parsed = exitprof::cli::Arguments::try_parse_from(words);
        assert!(parsed.is_ok(), "{example}: {parsed:?}");
        count += 1;
    }
    assert_eq!(count, 3);
}
