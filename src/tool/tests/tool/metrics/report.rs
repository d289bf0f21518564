// SPDX-License-Identifier: GPL-2.0

//! `report` and `stat` with `--format openmetrics` and `prometheus`.

use super::Metrics;
use crate::{
    growing::Growing,
    host::{Host, PROFILE, data, exitprof, output},
};
use std::{collections::BTreeMap, fs};

fn report(file: &str, arguments: &[&str]) -> String {
    let mut command = exitprof();
    command.arg("report").arg("-i").arg(data(file));
    output(command.args(arguments))
}

fn open_metrics(file: &str, arguments: &[&str]) -> Metrics {
    Metrics::new(&report(
        file,
        &[&["--format", "openmetrics"], arguments].concat(),
    ))
}

/// The fields of a profile's line.
fn fields(line: &str) -> BTreeMap<&str, &str> {
    line.split(' ')
        .filter_map(|field| field.split_once('='))
        .collect()
}

#[test]
fn a_host_is_written() {
    let arguments = ["--by", "vm", "--reason", "MSR_WRITE"];
    for format in ["openmetrics", "prometheus"] {
        let text = report(
            "host-v2.txt",
            &[&["--format", format], &arguments[..]].concat(),
        );
        insta::assert_snapshot!(format!("host_{format}"), text);
    }
}

#[test]
fn phases_are_written() {
    let text = report("phases.txt", &["--format", "openmetrics", "--by", "vm"]);
    let lines = text.lines();
    let phases = lines.filter(|line| line.contains("phase") || line.contains("userspace"));
    insta::assert_snapshot!(phases.collect::<Vec<_>>().join("\n"));
}

/// Each line of the profile is a sample.
#[test]
fn all_that_was_counted_is_written_exactly() {
    let metrics = open_metrics("host-v2.txt", &["--by", "vcpu"]);
    let hertz = 2.4e9;
    let mut lines = 0;
    for line in PROFILE.lines() {
        let (kind, _) = line.split_once(' ').unwrap();
        let line = fields(line);
        let reason = line.get("name").map(|name| format!("reason={name}"));
        let (name, labels) = match (kind, &reason) {
            ("host", Some(reason)) => ("", vec![reason.clone()]),
            ("vcpu", Some(reason)) => (
                "vm_",
                vec![
                    format!("vm={}", line["vm"]),
                    format!("vcpu={}", line["vcpu"]),
                    reason.clone(),
                ],
            ),
            ("ended", Some(reason)) => ("vm_", vec!["vm=other".into(), reason.clone()]),
            _ => continue,
        };
        lines += 1;
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let get = |what: &str| metrics.get(&format!("exitprof_{name}{what}_total"), &labels);
        let number = |key: &str| Some(line[key].parse::<f64>().unwrap());
        assert_eq!(get("exits"), number("exits"), "{labels:?}");
        assert_eq!(get("untimed_exits"), number("untimed"), "{labels:?}");
        let seconds = number("cycles").map(|cycles| cycles / hertz);
        assert_eq!(get("handling_seconds"), seconds, "{labels:?}");
    }
    assert_eq!(lines, 57);
    let all = metrics.sums("exitprof_exits_total", "reason");
    assert_eq!(metrics.sums("exitprof_vm_exits_total", "reason"), all);
}

/// The bounds are the highest numbers of cycles of the module's buckets.
#[test]
fn histograms_have_the_modules_buckets() {
    let metrics = open_metrics("host-v2.txt", &[]);
    let name = "exitprof_handling_duration_seconds";
    let mut histograms = 0;
    for line in PROFILE.lines().filter(|line| line.starts_with("host ")) {
        let line = fields(line);
        let reason = format!("reason={}", line["name"]);
        let log2 = line["log2"]
            .split(',')
            .filter_map(|pair| pair.split_once(':'));
        let log2 = log2.map(|(b, n)| (b.parse().unwrap(), n.parse().unwrap()));
        let log2: BTreeMap<i32, f64> = log2.collect();
        let is_own = |labels: &[(String, String)]| {
            labels.contains(&("reason".into(), line["name"].to_owned()))
        };
        let bucket = format!("{name}_bucket");
        let own = metrics.of(&bucket).filter(|(labels, _)| is_own(labels));
        let mut buckets = 0;
        for (labels, value) in own {
            let (_, le) = labels.iter().find(|(name, _)| name == "le").unwrap();
            // 2^(n+1) - 1 cycles, or infinity.
            let n = match le.as_str() {
                "+Inf" => 29,
                le => {
                    let cycles = le.parse::<f64>().unwrap() * 2.4e9;
                    let n = (cycles + 1.0).log2().round() as i32 - 1;
                    assert!(
                        (cycles + 1.0 - 2f64.powi(n + 1)).abs() < 1e-6 * cycles,
                        "{le}"
                    );
                    n
                }
            };
            let below: f64 = log2.range(..=n).map(|(_, exits)| exits).sum();
            assert_eq!(value, below, "{reason} up to {le}");
            buckets += 1;
        }
        let timed = log2.values().sum::<f64>();
        if timed == 0.0 {
            assert_eq!((buckets, line["untimed"]), (0, line["exits"]), "{reason}");
            continue;
        }
        assert_eq!(buckets, 30, "{reason}");
        assert_eq!(
            metrics.get(&format!("{name}_count"), &[&reason]),
            Some(timed)
        );
        let seconds = line["cycles"].parse::<f64>().unwrap() / 2.4e9;
        assert_eq!(
            metrics.get(&format!("{name}_sum"), &[&reason]),
            Some(seconds)
        );
        histograms += 1;
    }
    assert_eq!(histograms, 12);
}

/// All phases of all vCPUs make up the time that passed, whose exits are in userspace, too.
#[test]
fn phases_add_up() {
    let metrics = open_metrics("phases.txt", &["--by", "vm"]);
    let by_phase = metrics.sums("exitprof_phase_seconds_total", "phase");
    assert_eq!(by_phase.len(), 9);
    let all: f64 = by_phase.values().sum();
    assert!((all - 1_190_099_019.0 / 5e7).abs() < 1e-9, "{all}");
    let vms = metrics.sums("exitprof_vm_phase_seconds_total", "phase");
    for (phase, seconds) in &by_phase {
        assert!((seconds - vms[phase]).abs() < 1e-9, "{phase}");
    }
    let trips = metrics.sums("exitprof_userspace_seconds_total", "exit");
    assert_eq!(trips["IO"], 209_172_343.0 / 5e7);
    assert_eq!(
        metrics.get(
            "exitprof_userspace_exits_total",
            &["reason=EPT_MISCONFIG", "exit=MMIO"]
        ),
        Some(596.0)
    );
}

#[test]
fn what_is_selected_is_written() {
    let metrics = open_metrics("host-v2.txt", &["--vm", "412"]);
    let vms = metrics.sums("exitprof_vm_exits_total", "vm");
    assert_eq!(vms.keys().collect::<Vec<_>>(), ["412-11"]);
    // The figures of all guests are not those of this one.
    assert_eq!(metrics.of("exitprof_exits_total").count(), 0);
    assert_eq!(
        metrics.get("exitprof_vm_vcpus", &["vm=412-11", "pid=412"]),
        Some(2.0)
    );
    let vcpu = open_metrics("host-v2.txt", &["--vcpu", "1", "--reason", "CPUID"]);
    let of_vcpu = ["vm=412-11", "vcpu=1", "reason=CPUID"];
    assert_eq!(vcpu.get("exitprof_vm_exits_total", &of_vcpu), Some(133.0));
    assert_eq!(vcpu.of("exitprof_vm_exits_total").count(), 1);
}

#[test]
fn names_are_quoted() {
    let host = Host::new(PROFILE);
    let dir = host.0.path().join("proc/412");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("cmdline"), "qemu\0-name\0a\"b\\\0").unwrap();
    let mut report = host.exitprof("report");
    report.args(["--by", "vm", "--format", "openmetrics"]);
    let metrics = Metrics::new(&output(&mut report));
    let labels = ["vm=412-11", "vm_name=a\"b\\", "reason=CPUID"];
    assert_eq!(metrics.get("exitprof_vm_exits_total", &labels), Some(355.0));
    // The host's clock says when the counters were zero: 120 seconds ago.
    let created = metrics.get("exitprof_vm_exits_created", &labels).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let age = now.unwrap().as_secs_f64() - created;
    assert!((119.9..180.0).contains(&age), "{age}");
    assert_eq!(
        metrics.get("exitprof_start_time_seconds", &[]),
        Some(created)
    );
}

/// Without the frequency of the TSC, there are no seconds.
#[test]
fn unknown_times_are_left_out() {
    let host = Host::new(&PROFILE.replace("tsc_khz=2400000", "tsc_khz=0"));
    let mut report = host.exitprof("report");
    let metrics = Metrics::new(&output(report.args([
        "--by",
        "vm",
        "--format",
        "openmetrics",
    ])));
    let names: Vec<&str> = metrics.types.keys().map(String::as_str).collect();
    let timed = names
        .iter()
        .filter(|name| name.contains("handling") || name.contains("tsc"));
    assert_eq!(timed.count(), 0, "{names:?}");
    assert_eq!(
        metrics.get("exitprof_exits_total", &["reason=CPUID"]),
        Some(444.0)
    );
}

/// A histogram whose exits do not fit into 64 bits is no histogram.
#[test]
fn impossible_histograms_are_left_out() {
    let of_cr_access = "log2=9:5,10:1,12:3,13:1";
    assert!(PROFILE.contains(of_cr_access));
    let most = format!("log2=9:{0},10:{0}", u64::MAX);
    let host = Host::new(&PROFILE.replace(of_cr_access, &most));
    let mut report = host.exitprof("report");
    let metrics = Metrics::new(&output(report.args(["--format", "openmetrics"])));
    let count = |reason| metrics.get("exitprof_handling_duration_seconds_count", &[reason]);
    assert_eq!(
        (count("reason=CR_ACCESS"), count("reason=CPUID")),
        (None, Some(444.0))
    );
}

#[test]
fn a_period_is_written() {
    let host = Host::new(&Growing::new().profile());
    fs::write(
        host.0.path().join("later"),
        Growing::new().later(2).profile(),
    )
    .unwrap();
    let mut stat = host.exitprof("stat");
    stat.args(["--format", "openmetrics", "--by", "vm", "--", "mv"]);
    stat.arg(host.0.path().join("later"));
    stat.arg(host.0.path().join("kvm_exitprof/profile"));
    let run = stat.assert().success().get_output().clone();
    let metrics = Metrics::new(std::str::from_utf8(&run.stderr).unwrap());
    assert_eq!(
        metrics.get("exitprof_exits_total", &["reason=HLT"]),
        Some(400.0)
    );
    let vm = ["vm=412-11", "reason=CPUID"];
    assert_eq!(metrics.get("exitprof_vm_exits_total", &vm), Some(1800.0));
}

#[test]
fn what_has_no_place_is_refused() {
    let host = Host::new(PROFILE);
    for (arguments, why) in [
        ("report --top 3", "leave out --top"),
        ("report --net", "--net"),
        ("report --sort time", "--sort"),
        ("report --rate 1", "no place for the rate"),
        ("stat 1", "leave out the interval"),
        ("stat --line 1", "leave out the interval"),
        ("stat -r 2 -- true", "-r"),
    ] {
        let (name, rest) = arguments.split_once(' ').unwrap();
        let mut command = host.exitprof(name);
        command.arg("--format=prometheus").args(rest.split(' '));
        let run = command.assert().code(1).get_output().clone();
        let says = String::from_utf8(run.stderr).unwrap();
        assert!(says.contains(why), "{arguments}: {says}");
        assert_eq!(run.stdout, b"", "{arguments}");
    }
    let file = data("host-v2.txt");
    let diff = exitprof()
        .args(["diff", "--format", "openmetrics"])
        .args([&file, &file])
        .assert();
    diff.code(1);
}
