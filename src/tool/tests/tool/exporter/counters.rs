// SPDX-License-Identifier: GPL-2.0

//! What it says while counters, VMs and the module come and go.

use super::{Exporter, get};
use crate::{growing::Growing, host::Host, metrics::Metrics};

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
