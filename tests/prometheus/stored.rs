// SPDX-License-Identifier: GPL-2.0

//! What Prometheus stores is what the host counted.

use crate::{
    exitprof,
    host::{Host, Step},
};
use prometheus_tests::{
    programs::program,
    server::{Prometheus, free_port, key, number, value},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    process::{Child, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const FIRST: Step = Step {
    epoch: 7,
    step: 1,
    ended: false,
};

/// Each number, in both formats, and after the counters have changed.
#[test]
fn it_stores_each_number() {
    let mut host = Host::new(FIRST);
    let address = host.export(&["--by", "vm"]);
    let prometheus = Prometheus::new(&[("exitprof", &address)], None);
    for step in [1, 2, 1000] {
        let now = Step { step, ..FIRST };
        host.count(now);
        let expected = now.samples();
        let ((name, labels), first) = expected.iter().next().unwrap();
        let reason = &labels["reason"];
        prometheus.wait_for(&format!("{name}{{reason={reason:?}}}"), *first);
        let stored = prometheus.query("{__name__=~\"exitprof_.*\"}").unwrap();
        let stored: BTreeMap<_, _> = stored
            .iter()
            .map(|series| (key(series), value(series)))
            .collect();
        for (key, value) in &expected {
            assert_eq!(stored.get(key), Some(value), "step {step}: {key:?}");
        }
    }
    prometheus.wait_for("exitprof_epoch", 7.0);
    prometheus.wait_for(
        "sum(exitprof_exits_total) - sum(exitprof_vm_exits_total)",
        0.0,
    );
}

/// While the counters change all the time, each scrape has the numbers of one moment.
#[test]
fn it_stores_what_was_at_one_time() {
    let mut host = Host::new(FIRST);
    let address = host.export(&["--by", "vm"]);
    let prometheus = Prometheus::new(&[("exitprof", &address)], None);
    for step in 1..250 {
        host.count(Step { step, ..FIRST });
        thread::sleep(Duration::from_millis(40));
    }
    let last = Step { step: 250, ..FIRST };
    host.count(last);
    let total: f64 = sum(last, "exitprof_exits_total");
    prometheus.wait_for("sum(exitprof_exits_total)", total);
    let mut moments: BTreeMap<String, BTreeMap<_, f64>> = BTreeMap::new();
    for series in prometheus
        .query("{__name__=~\"exitprof_(vm_)?exits_total\"}[5m]")
        .unwrap()
    {
        for sample in series["values"].as_array().unwrap() {
            let moment = moments.entry(sample[0].to_string()).or_default();
            moment.insert(key(&series), number(&sample[1]));
        }
    }
    let mut steps: Vec<u64> = moments
        .values()
        .map(|stored| {
            let step = (1..=250).find(|&step| {
                let expected = Step { step, ..FIRST }.samples();
                stored
                    .iter()
                    .all(|(key, value)| expected.get(key) == Some(value))
            });
            step.unwrap_or_else(|| panic!("not of one time: {stored:?}"))
        })
        .collect();
    steps.dedup();
    assert!(steps.len() >= 3 && steps.is_sorted(), "{steps:?}");
}

fn sum(step: Step, name: &str) -> f64 {
    let samples = step.samples();
    let own = samples.iter().filter(|((other, _), _)| other == name);
    own.map(|(_, value)| value).sum()
}

/// Counters that started from zero are no decrease; an ended VM is gone, and its counts are
/// not; a module that is gone is told.
#[test]
fn it_knows_resets_and_ends() {
    let mut host = Host::new(FIRST);
    let address = host.export(&[]);
    let prometheus = Prometheus::new(&[("exitprof", &address)], None);
    let before = Step {
        step: 1000,
        ..FIRST
    };
    host.count(before);
    prometheus.wait_for(
        "sum(exitprof_exits_total)",
        sum(before, "exitprof_exits_total"),
    );
    let ended = Step {
        ended: true,
        ..before
    };
    host.count(ended);
    prometheus.wait("exitprof_vm_exits_total{vm=\"1044-9\"}", |series| {
        series.is_empty()
    });
    let gone = sum(before, "exitprof_vm_exits_total") - sum(ended, "exitprof_vm_exits_total");
    prometheus.wait_for("sum(exitprof_ended_exits_total)", gone);
    prometheus.wait_for(
        "sum(exitprof_exits_total) - sum(exitprof_vm_exits_total) - sum(exitprof_ended_exits_total)",
        0.0,
    );
    let resets = |name: &str| {
        prometheus
            .query(&format!("max(resets({name}[10m]))"))
            .unwrap()
    };
    assert_eq!(value(&resets("exitprof_exits_total")[0]), 0.0);
    assert_eq!(value(&resets("exitprof_vm_exits_total")[0]), 0.0);
    let started = prometheus
        .query("exitprof_exits_created{reason=\"HLT\"}")
        .unwrap();
    let reset = Step { epoch: 8, ..FIRST };
    host.count(reset);
    prometheus.wait_for("exitprof_epoch", 8.0);
    prometheus.wait_for(
        "sum(exitprof_exits_total)",
        sum(reset, "exitprof_exits_total"),
    );
    assert_eq!(value(&resets("exitprof_exits_total")[0]), 1.0);
    let again = prometheus
        .query("exitprof_exits_created{reason=\"HLT\"}")
        .unwrap();
    assert_ne!(value(&started[0]), value(&again[0]));
    host.unload();
    prometheus.wait_for("exitprof_up", 0.0);
    assert_eq!(prometheus.query("exitprof_exits_total"), Some(vec![]));
    prometheus.wait_for("up", 1.0);
}

/// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `report --format prometheus` writes comes through node_exporter's textfile collector.
#[test]
fn node_exporter_passes_a_file_on() {
    let step = Step { step: 5, ..FIRST };
    let host = Host::new(step);
    let dir = TempDir::new().unwrap();
    let [debugfs, procfs] = host.mounts();
    let mut report = exitprof();
    report.args([
        "report",
        "--by",
        "vm",
        "--format",
        "prometheus",
        "--debugfs",
    ]);
    report.arg(debugfs).arg("--procfs").arg(procfs);
    let run = report.output().unwrap();
    assert!(run.status.success(), "{run:?}");
    fs::write(dir.path().join("exitprof.prom"), run.stdout).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut node = program("prometheus-node-exporter");
    node.args(["--collector.disable-defaults", "--collector.textfile"]);
    node.arg(format!(
        "--collector.textfile.directory={}",
        dir.path().display()
    ));
    node.arg(format!("--web.listen-address={address}"));
    node.stdout(Stdio::null()).stderr(Stdio::null());
    let _node = Running(node.spawn().unwrap());
    let prometheus = Prometheus::new(&[("node", &address)], None);
    prometheus.wait_for("node_textfile_scrape_error", 0.0);
    prometheus.wait_for(
        "sum(exitprof_exits_total)",
        sum(step, "exitprof_exits_total"),
    );
    let stored = prometheus.query("{__name__=~\"exitprof_.*\"}").unwrap();
    let stored: BTreeMap<_, _> = stored
        .iter()
        .map(|series: &Value| (key(series), value(series)))
        .collect();
    for (key, value) in step.samples() {
        assert_eq!(stored.get(&key), Some(&value), "{key:?}");
    }
}

/// promtool's linter finds nothing.
#[test]
fn promtool_finds_no_fault() {
    let host = Host::new(FIRST);
    let [debugfs, procfs] = host.mounts();
    for by in ["reason", "vm", "vcpu"] {
        let mut report = exitprof();
        report.args(["report", "--by", by, "--format", "prometheus", "--debugfs"]);
        let text = report
            .arg(debugfs)
            .arg("--procfs")
            .arg(procfs)
            .output()
            .unwrap()
            .stdout;
        assert!(!text.is_empty());
        assert_eq!(lint(&text), "", "by {by}");
    }
    // It would find one.
    let told = lint(b"# TYPE x_total gauge\nx_total 1\n");
    assert!(told.contains("x_total"), "{told}");
}

/// What `promtool check metrics` says.
fn lint(text: &[u8]) -> String {
    let mut tool = program("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child = tool
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    let run = child.wait_with_output().unwrap();
    let says = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    assert_eq!(run.status.success(), says.is_empty(), "{says}");
    says
}
