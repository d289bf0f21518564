// SPDX-License-Identifier: GPL-2.0

//! What a large host takes.

use super::Exporter;
use crate::host::Host;
use std::{fmt::Write, time::Instant};

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
