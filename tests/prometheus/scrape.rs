// SPDX-License-Identifier: GPL-2.0

//! An exporter on an emulated host, where Linux boots, works and ends as a guest. Prometheus
//! scrapes it all the time; whenever the host stands still, it stores what the host has counted.
//!
//! `scripts/scrape.sh` boots the host, and says where the programs are: `PROMETHEUS_BIN` and
//! `EXITPROF` as in `main.rs`; `SCRAPED` is the exporter's address, `RESULTS` what the host
//! prints, and `MACHINE` the process that ends with it.

use prometheus_tests::{
    programs::path,
    server::{Prometheus, key, number},
};
use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long the host may take.
const PATIENCE: Duration = Duration::from_secs(1200);

/// A sample: its name, and its labels in order of their names.
type Key = (String, BTreeMap<String, String>);

/// What the host said while it stood still.
#[derive(Debug, Default)]
struct Still {
    name: String,
    /// KVM's statistic of the guest's exits.
    kvm: Option<f64>,
    /// What the exporter should have said.
    samples: BTreeMap<Key, f64>,
    epoch: f64,
}

/// All times at which the host stood still.
fn stills(results: &str) -> Vec<Still> {
    let mut stills: Vec<Still> = Vec::new();
    let mut hertz = 0.0;
    for line in results.lines() {
        if let Some(name) = line.strip_prefix("@still ") {
            stills.push(Still {
                name: name.into(),
                ..Still::default()
            });
        }
        let Some(still) = stills.last_mut() else {
            continue;
        };
        if let Some(exits) = line.strip_prefix("@kvm ") {
            still.kvm = exits.parse().ok();
        }
        let Some(line) = line.strip_prefix("@profile ") else {
            continue;
        };
        let (kind, rest) = line.split_once(' ').unwrap();
        let fields: BTreeMap<&str, &str> = rest
            .split(' ')
            .filter_map(|field| field.split_once('='))
            .collect();
        let number = |field: &str| fields[field].parse::<f64>().unwrap();
        let mut add = |name: &str, labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string()));
            let key = (format!("exitprof_{name}"), labels.collect());
            *still.samples.entry(key).or_insert(0.0) += value;
        };
        let reason = ("reason", fields.get("name").copied().unwrap_or_default());
        match kind {
            "profile" => {
                hertz = number("tsc_khz") * 1000.0;
                still.epoch = number("epoch");
            }
            "host" => {
                add("exits_total", &[reason], number("exits"));
                add("untimed_exits_total", &[reason], number("untimed"));
                add(
                    "handling_seconds_total",
                    &[reason],
                    number("cycles") / hertz,
                );
                let timed = number("exits") - number("untimed");
                if timed > 0.0 {
                    add("handling_duration_seconds_count", &[reason], timed);
                }
            }
            // There is one VM, with one vCPU.
            "vcpu" => {
                let labels = [("vm", fields["vm"]), ("vm_name", "qemu-system-x86"), reason];
                add("vm_exits_total", &labels, number("exits"));
                add(
                    "vm_handling_seconds_total",
                    &labels,
                    number("cycles") / hertz,
                );
            }
            _ => (),
        }
    }
    stills
}

#[test]
fn it_stores_what_the_host_counted() {
    let address = env::var("SCRAPED").expect("run scripts/scrape.sh");
    let results = path("RESULTS");
    let machine = PathBuf::from("/proc").join(env::var("MACHINE").unwrap());
    let prometheus = Prometheus::new(&[("exitprof", &address)], None);
    let begun = Instant::now();
    let text = loop {
        let text = fs::read_to_string(&results).unwrap_or_default();
        if text.contains("\n@end") {
            break text;
        }
        let is_alive = Path::new(&machine).exists() && begun.elapsed() < PATIENCE;
        assert!(is_alive, "the host did not come to its end: {text}");
        thread::sleep(Duration::from_secs(1));
    };
    let stills = stills(&text);
    let names: Vec<&str> = stills.iter().map(|still| still.name.as_str()).collect();
    assert_eq!(
        names,
        ["booted", "worked", "slept", "reset", "ended", "gone"]
    );

    let mut scrapes: BTreeMap<String, BTreeMap<Key, f64>> = BTreeMap::new();
    for series in prometheus
        .query("{__name__=~\"exitprof_.*\"}[30m]")
        .unwrap()
    {
        for sample in series["values"].as_array().unwrap() {
            let scrape = scrapes.entry(sample[0].to_string()).or_default();
            scrape.insert(key(&series), number(&sample[1]));
        }
    }
    let scrapes: Vec<_> = scrapes.values().collect();
    let get = |scrape: &BTreeMap<Key, f64>, name: &str| {
        scrape.get(&(name.to_owned(), BTreeMap::new())).copied()
    };
    let mut next = 0;
    for still in &stills {
        assert!(
            still.name == "gone" || still.samples.len() > 10,
            "{still:?}"
        );
        // Of the scrapes that follow, one is of that time.
        let is_it = |scrape: &&BTreeMap<Key, f64>| match still.name.as_str() {
            "gone" => get(scrape, "exitprof_up") == Some(0.0),
            _ => {
                let mut samples = still.samples.iter();
                get(scrape, "exitprof_epoch") == Some(still.epoch)
                    && samples.all(|(key, value)| scrape.get(key) == Some(value))
            }
        };
        let found = scrapes[next..].iter().position(is_it);
        let found = found.unwrap_or_else(|| {
            panic!(
                "{}: {still:?} is not in {:?}",
                still.name,
                scrapes[next..].first()
            )
        });
        next += found;
        let sum = |name: &str| -> f64 {
            let own = scrapes[next].iter().filter(|((other, _), _)| other == name);
            own.map(|(_, value)| value).sum()
        };
        let (all, vms) = (sum("exitprof_exits_total"), sum("exitprof_vm_exits_total"));
        println!("{}: {all} exits of all, {vms} of VMs", still.name);
        assert_eq!(
            all,
            vms + sum("exitprof_ended_exits_total"),
            "{}",
            still.name
        );
        // Until the counters started from zero, KVM has counted the same.
        if still.name != "reset"
            && let Some(kvm) = still.kvm
        {
            assert_eq!(vms, kvm, "{}", still.name);
        }
    }
    // Each write of a byte is an exit; others come from the console.
    let outs = |nth: usize| {
        let io = |key: &&Key| {
            let is_io = |name: &String| ["IOIO", "IO_INSTRUCTION"].contains(&name.as_str());
            key.0 == "exitprof_exits_total" && is_io(&key.1["reason"])
        };
        let samples = &stills[nth].samples;
        let own = samples.iter().filter(|(key, _)| io(key));
        own.map(|(_, value)| value).sum::<f64>()
    };
    assert!(
        (5003.0..6000.0).contains(&(outs(1) - outs(0))),
        "{}",
        outs(1) - outs(0)
    );
}
