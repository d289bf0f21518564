// SPDX-License-Identifier: GPL-2.0

//! What it answers to requests.

use super::{Exporter, OLD, OPEN_METRICS, get};
use crate::{growing::Growing, host::Host, metrics::Metrics};
use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

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
