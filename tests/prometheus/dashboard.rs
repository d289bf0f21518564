// SPDX-License-Identifier: GPL-2.0

//! Each query of the dashboard returns data.

use crate::{
    host::{Host, Step},
    monitoring,
};
use prometheus_tests::server::{Prometheus, value};
use serde_json::Value;
use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// All values of a key, wherever it is.
fn all<'a>(json: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match json {
        Value::Object(map) => {
            found.extend(map.get(key));
            map.values().for_each(|value| all(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| all(value, key, found)),
        _ => (),
    }
}

#[test]
fn each_query_returns_data() {
    let text = fs::read_to_string(monitoring("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    all(&dashboard["panels"], "expr", &mut queries);
    let mut queries: Vec<String> = queries
        .iter()
        .map(|query| query.as_str().unwrap().into())
        .collect();
    assert_eq!(queries.len(), dashboard["panels"].as_array().unwrap().len());
    // label_values(metric, label) are those of the metric's series.
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables = variables.iter().filter_map(|v| v["definition"].as_str());
    for variable in variables {
        let inner = variable
            .strip_prefix("label_values(")
            .unwrap()
            .strip_suffix(')')
            .unwrap();
        let (metric, label) = inner.rsplit_once(", ").unwrap();
        queries.push(format!("count by ({label}) ({metric})"));
    }
    assert!(queries.len() > 15, "{queries:?}");

    let mut host = Host::new(Step::so_far(1));
    let address = host.export(&[]);
    let prometheus = Prometheus::new(&[("exitprof", &address)], None);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // The host goes on counting.
        scope.spawn(|| {
            for nth in (2..).take_while(|_| !done.load(Ordering::Relaxed)) {
                host.count(Step::so_far(nth));
                thread::sleep(Duration::from_millis(100));
            }
        });
        let checks: Vec<_> = queries
            .iter()
            .map(|query| scope.spawn(|| check(query, &prometheus)))
            .collect();
        let passed: Vec<bool> = checks
            .into_iter()
            .map(|check| check.join().is_ok())
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(passed.into_iter().all(|passed| passed));
    });
}

/// The result of a query has numbers, and not only zeros.
fn check(query: &str, prometheus: &Prometheus) {
    let query = query
        .replace("$__rate_interval", "1m")
        .replace("$instance", ".*")
        .replace("$vm", ".*")
        .replace("$reason", ".*");
    assert!(!query.contains('$'), "{query}");
    prometheus.wait(&query, |series| {
        let values: Vec<f64> = series.iter().map(value).collect();
        values.iter().all(|value| !value.is_nan()) && values.iter().any(|value| *value > 0.0)
    });
}
