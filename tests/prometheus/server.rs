// SPDX-License-Identifier: GPL-2.0

//! A Prometheus that scrapes each second.

use super::programs::program;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long to wait for what should come in a second or two, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server, and where it stores.
pub struct Prometheus {
    dir: TempDir,
    child: Child,
    address: String,
}

/// A port that nobody uses.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Prometheus {
    /// One that scrapes `jobs`, which are names and addresses, and has `rules`.
    pub fn new(jobs: &[(&str, &str)], rules: Option<&Path>) -> Prometheus {
        let dir = TempDir::new().unwrap();
        let mut config = String::from("global: {scrape_interval: 1s, evaluation_interval: 1s}\n");
        if let Some(rules) = rules {
            writeln!(config, "rule_files: [{:?}]", rules.canonicalize().unwrap()).unwrap();
        }
        config += "scrape_configs:\n";
        for (job, address) in jobs {
            writeln!(
                config,
                "- {{job_name: {job}, static_configs: [{{targets: [{address:?}]}}]}}"
            )
            .unwrap();
        }
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let mut command = program("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!(
            "--storage.tsdb.path={}",
            dir.path().join("data").display()
        ));
        command.arg(format!("--web.listen-address={address}"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().unwrap();
        Prometheus {
            dir,
            child,
            address,
        }
    }

    /// The series that a query results in, once there are some and `wanted` likes them.
    pub fn wait(&self, query: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let series = self.query(query);
            if let Some(series) = &series
                && wanted(series)
            {
                return series.clone();
            }
            if begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                panic!("{query}: {series:?}\n{log}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until a query results in this number.
    pub fn wait_for(&self, query: &str, number: f64) {
        self.wait(
            query,
            |series| matches!(series, [one] if value(one) == number),
        );
    }

    /// The series that a query results in; `None` if the server does not answer yet.
    pub fn query(&self, query: &str) -> Option<Vec<Value>> {
        let mut tool = program("promtool");
        tool.args(["query", "instant", "-o", "json"]);
        tool.arg(format!("http://{}", self.address)).arg(query);
        let run = tool.output().unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        if !run.status.success() {
            let error = String::from_utf8_lossy(&run.stderr);
            assert!(!error.contains("bad_data"), "{query}: {error}");
            return None;
        }
        let result: Value = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
        Some(result.as_array().cloned().unwrap_or_default())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of a series.
pub fn value(series: &Value) -> f64 {
    number(&series["value"][1])
}

/// A number, which is a string in JSON.
pub fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// The name of a series, and its other labels but for those of the job.
pub fn key(series: &Value) -> (String, BTreeMap<String, String>) {
    let labels = series["metric"].as_object().unwrap();
    let mut labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().into()))
        .collect();
    labels.remove("job");
    labels.remove("instance");
    (labels.remove("__name__").unwrap_or_default(), labels)
}
