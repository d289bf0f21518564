// SPDX-License-Identifier: GPL-2.0

//! The rules do what their tests say, on what exitprof writes.

use crate::{
    host::{Host, Step},
    monitoring,
};
use prometheus_tests::{
    programs::program,
    server::{Prometheus, value},
};
use std::fs;

/// Runs promtool, which must succeed.
fn promtool(arguments: &[&str]) {
    let mut tool = program("promtool");
    let run = tool
        .args(arguments)
        .current_dir(monitoring(""))
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
}

#[test]
fn rules_are_valid() {
    promtool(&["check", "rules", "rules.yml"]);
}

#[test]
fn rules_do_what_their_tests_say() {
    promtool(&["test", "rules", "rules.test.yml"]);
}

/// The rules of the file find the metrics that they name.
#[test]
fn rules_find_their_metrics() {
    let mut host = Host::new(Step::so_far(1));
    let address = host.export(&[]);
    let prometheus = Prometheus::new(&[("exitprof", &address)], Some(&monitoring("rules.yml")));
    prometheus.wait("exitprof_up", |series| !series.is_empty());
    host.count(Step::so_far(2));
    let text = fs::read_to_string(monitoring("rules.yml")).unwrap();
    let records = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- record: "));
    let records: Vec<&str> = records.collect();
    assert_eq!(records.len(), 5);
    for record in records {
        // Of two scrapes, before there are numbers.
        prometheus.wait(record, |series| {
            !series.is_empty() && series.iter().all(|series| value(series) >= 0.0)
        });
    }
    // What alerts compare exists, too: without their thresholds, they would fire.
    for alert in ["exitprof_up", "exitprof_recording"] {
        prometheus.wait(alert, |series| series.len() == 1);
    }
}
