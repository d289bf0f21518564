// SPDX-License-Identifier: GPL-2.0

//! `exitprof exporter`: over HTTP, while the counters change, and how it begins and ends.

use crate::{
    growing::Growing,
    host::{Host, exitprof, output},
    metrics::Metrics,
};
use clap::Parser;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::{Duration, Instant},
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

#[test]
fn each_client_gets_the_format_that_it_prefers() {
    let host = Host::new(&Growing::new().profile());
    let exporter = Exporter::new(&host, &[]);
    let (head, body) = exporter.ask(&get("/metrics", OPEN_METRICS));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let own = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(head.contains(own), "{head}");
    let metrics = Metrics::new(&body);
    assert_eq!(metrics.get("exitprof_up", &[]), Some(1.0));
    assert_eq!(
        metrics.get("exitprof_exits_total", &["reason=HLT"]),
        Some(20_000.0)
    );
    let (head, body) = exporter.ask(&get("/metrics", "*/*"));
    let own = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(head.contains(own), "{head}");
    assert!(
        body.contains("\n# TYPE exitprof_exits_total counter\n"),
        "{body}"
    );
    assert!(
        !body.contains("_created") && !body.contains("# EOF"),
        "{body}"
    );
    let (plain, _) = exporter.ask("GET /metrics HTTP/1.0\r\n\r\n");
    assert!(plain.starts_with("HTTP/1.0 200 OK\r\n"), "{plain}");
    let (head, body) = exporter.ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(),
        "{head}"
    );
    let without = Exporter::new(&host, &["--no-created"]);
    let (_, body) = without.ask(&get("/metrics", OPEN_METRICS));
    assert!(!body.contains("_created"), "{body}");
    let samples = Metrics::new(&body).samples.len();
    let created = metrics
        .samples
        .keys()
        .filter(|(name, _)| name.ends_with("_created"));
    assert_eq!(samples, metrics.samples.len() - created.count());
}

#[test]
fn other_requests_are_refused() {
    let host = Host::new(&Growing::new().profile());
    let exporter = Exporter::new(&host, &[]);
    for (request, status) in [
        (get("/", "*/*"), "200 OK"),
        (get("/metrics?x=1", "*/*"), "200 OK"),
        (get("/metrics/", "*/*"), "404 Not Found"),
        (get("/../etc/passwd", "*/*"), "404 Not Found"),
        (get("/nothing", "*/*"), "404 Not Found"),
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".into(),
            "405 Method",
        ),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "405 Method"),
        ("nonsense\r\n\r\n".into(), "400 Bad Request"),
        (
            format!(
                "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
                "x".repeat(1 << 20)
            ),
            "431",
        ),
    ] {
        let mut stream = TcpStream::connect(exporter.address).unwrap();
        // It may refuse before it has read all.
        let _ = stream.write_all(request.as_bytes());
        let mut head = [0; 64];
        let length = stream.read(&mut head).unwrap_or(0);
        let head = String::from_utf8_lossy(&head[..length]);
        let start: String = request.chars().take(40).collect();
        if status == "431" && length == 0 {
            continue; // The connection was reset.
        }
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{start}: {head}"
        );
    }
    let (_, page) = exporter.ask(&get("/", "text/html"));
    assert!(page.contains("<a href=\"/metrics\">"), "{page}");
}

/// A reading serves all who ask within a second.
#[test]
fn a_page_is_used_again() {
    let host = Host::new(&Growing::new().profile());
    let exporter = Exporter::new(&host, &[]);
    let hlts = || {
        let (_, body) = exporter.ask(&get("/metrics", OPEN_METRICS));
        Metrics::new(&body)
            .get("exitprof_exits_total", &["reason=HLT"])
            .unwrap()
    };
    // On a busy machine, more than a second may pass.
    let is_used_again = (1..10).any(|nth| {
        thread::sleep(OLD);
        let begun = Instant::now();
        let first = hlts();
        host.load(&Growing::new().later(nth).profile());
        let again = hlts();
        let is_quick = begun.elapsed() < Duration::from_millis(900);
        assert!(!is_quick || again == first, "{first} {again}");
        is_quick
    });
    assert!(is_used_again);
    host.load(&Growing::new().later(20).profile());
    thread::sleep(OLD);
    assert_eq!(hlts(), 24_000.0);
}

#[test]
fn a_module_may_come_and_go() {
    let host = Host::new(&Growing::new().profile());
    host.unload();
    let mut exporter = Exporter::new(&host, &[]);
    let metrics = exporter.metrics();
    assert_eq!(metrics.get("exitprof_up", &[]), Some(0.0));
    assert_eq!(metrics.of("exitprof_exits_total").count(), 0);
    assert!(exporter.line().contains("the module is not loaded"));
    let (_, page) = exporter.ask(&get("/", "text/html"));
    assert!(
        page.contains("cannot be read: the module is not loaded"),
        "{page}"
    );
    // It says so once.
    assert_eq!(exporter.metrics().get("exitprof_up", &[]), Some(0.0));
    host.load(&Growing::new().profile());
    assert_eq!(exporter.metrics().get("exitprof_up", &[]), Some(1.0));
    assert!(exporter.line().contains("can be read again"));
    host.load("profile version=9\n");
    assert_eq!(exporter.metrics().get("exitprof_up", &[]), Some(0.0));
    assert!(exporter.line().contains("the profile has version 9"));
}

/// What Prometheus needs to know that the counters started from zero.
#[test]
fn a_reset_is_told() {
    let counts = Growing::new();
    let host = Host::new(&counts.profile());
    let exporter = Exporter::new(&host, &[]);
    let first = exporter.metrics();
    let reset = Growing {
        epoch: 8,
        seconds: 1,
        ..counts
    };
    let profile = reset.profile();
    host.load(
        &profile
            .replace("time_ns=1000000000 ", "time_ns=102000000000 ")
            .replace("since_ns=0", "since_ns=101000000000"),
    );
    let second = exporter.metrics();
    let hlt = ["reason=HLT"];
    let get = |metrics: &Metrics, name: &str| metrics.get(name, &hlt).unwrap();
    assert_eq!(get(&second, "exitprof_exits_total"), 200.0);
    for name in [
        "exitprof_exits_created",
        "exitprof_handling_duration_seconds_created",
    ] {
        let (before, now) = (get(&first, name), get(&second, name));
        assert!(
            (100.0..130.0).contains(&(now - before)),
            "{name}: {before} {now}"
        );
    }
    let vm = ["vm=412-11", "reason=CPUID"];
    let created = second.get("exitprof_vm_exits_created", &vm);
    assert_eq!(created, second.get("exitprof_start_time_seconds", &[]));
    assert_eq!(second.get("exitprof_epoch", &[]), Some(8.0));
    // While the counters go on, this does not change.
    let third = exporter.metrics();
    assert_eq!(
        get(&third, "exitprof_exits_created"),
        get(&second, "exitprof_exits_created")
    );
}

#[test]
fn vms_beyond_the_limit_are_summed_up() {
    let counts = Growing::new();
    let host = Host::new(&counts.profile());
    let exporter = Exporter::new(&host, &["--limit", "1"]);
    let vms = |metrics: &Metrics| metrics.sums("exitprof_vm_exits_total", "vm");
    let first = vms(&exporter.metrics());
    assert_eq!(first.keys().collect::<Vec<_>>(), ["412-11", "other"]);
    assert_eq!((first["412-11"], first["other"]), (90_000.0, 30_000.0));
    let all = Exporter::new(&host, &["--by", "vcpu"]);
    assert_eq!(
        vms(&all.metrics()).keys().collect::<Vec<_>>(),
        ["412-11", "977-14"]
    );
    let ended = Growing {
        ended: true,
        ..counts.later(10)
    };
    host.load(&ended.profile());
    let second = exporter.metrics();
    assert_eq!(vms(&second)["other"], 33_000.0);
    // That VM had series of its own, which have ended.
    let metrics = all.metrics();
    let gone = metrics.get("exitprof_ended_exits_total", &["reason=HLT"]);
    assert_eq!(gone, Some(20_000.0));
    let sum = |name| metrics.sums(name, "reason").values().sum::<f64>();
    assert_eq!(
        sum("exitprof_vm_exits_total") + sum("exitprof_ended_exits_total"),
        sum("exitprof_exits_total")
    );
    let none = Exporter::new(&host, &["--by", "host"]);
    assert_eq!(none.metrics().of("exitprof_vm_exits_total").count(), 0);
}

/// Clients that say nothing, or read nothing, keep nobody waiting.
#[test]
fn slow_clients_disturb_nobody() {
    let host = Host::new(&Growing::new().profile());
    let exporter = Exporter::new(&host, &[]);
    let mut slow: Vec<TcpStream> = Vec::new();
    for nth in 0..20 {
        let mut stream = TcpStream::connect(exporter.address).unwrap();
        match nth % 3 {
            0 => (),
            1 => stream.write_all(b"GET /metr").unwrap(),
            _ => stream.write_all(get("/metrics", "*/*").as_bytes()).unwrap(),
        }
        slow.push(stream);
    }
    let begun = Instant::now();
    assert_eq!(exporter.metrics().get("exitprof_up", &[]), Some(1.0));
    assert!(begun.elapsed() < Duration::from_secs(10));
}

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

/// A host with 512 CPUs and 1,000 vCPUs of 250 VMs, each of which exits for 20 reasons, and
/// has phases. For each reason of the host, there is a histogram.
fn large() -> String {
    let mut text = String::from(
        "profile version=2 isa=vmx id=00000000000000aa epoch=7 tsc_khz=2000000 \
         time_ns=100000000000 since_ns=0 cpus=512 recording=1 per_vcpu=1 histograms=1 phases=1\n",
    );
    let mut lines = 2;
    let mut line = |line: String| {
        writeln!(text, "{line}").unwrap();
        lines += 1;
    };
    for reason in 10..30 {
        let log2: Vec<String> = (5..25).map(|b| format!("{b}:50000000")).collect();
        line(format!(
            "host reason={reason} name=REASON_{reason} exits=1000000000 cycles=1000000000000 \
             untimed=0 min=40 max=30000000 log2={}",
            log2.join(",")
        ));
    }
    for id in 1..=1000 {
        let (vm, vcpu) = (id / 4 + 1000, id % 4);
        let vcpu = format!("vm={vm}-11 vcpu={vcpu} id={id:016x}");
        line(format!("attached {vcpu}"));
        for reason in 10..30 {
            let reason = format!("reason={reason} name=REASON_{reason}");
            line(format!(
                "vcpu {vcpu} {reason} exits=1000000 cycles=1000000000 untimed=0"
            ));
            line(format!(
                "vcpu_phases {vcpu} {reason} exit_path=1 handler=2 run_loop=3 userspace=4 \
                 polling=5 halted=6 preempted=7 sleeping=8"
            ));
        }
        line(format!(
            "vcpu_clock {vcpu} since=0 until=100000000000 guest=90000000000"
        ));
    }
    text + &format!("end epoch=7 lines={lines}\n")
}

/// The bounds are those of a debug build on a busy machine. What a release build needs,
/// README says.
#[test]
fn a_large_host_takes_little_memory() {
    let host = Host::new(&large());
    let exporter = Exporter::new(&host, &["--by", "vcpu", "--limit", "1000"]);
    let begun = Instant::now();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(exporter.metrics().of("exitprof_vm_exits_total").count());
    }
    assert_eq!(sizes, [20_000; 3]);
    let took = begun.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{took:?} {kilobytes} kB");
    assert!(kilobytes < 150_000, "{kilobytes} kB");
}
