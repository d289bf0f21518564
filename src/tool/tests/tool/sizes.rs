// SPDX-License-Identifier: GPL-2.0

//! Hosts with many VMs.

use std::{fmt::Write, fs, process::Command};
use tempfile::TempDir;

const VMS: u64 = 2000;
const VCPUS: u64 = 8;
const REASONS: u64 = 20;

/// A profile after some seconds, in which the first VMs have ended. Each vCPU has ten exits of
/// each reason in a second.
fn profile(seconds: u64, ended: u64) -> String {
    let mut text = format!(
        "profile version=2 isa=vmx id=00000000000000aa epoch=7 tsc_khz=2000000 \
         time_ns={seconds}000000000 since_ns=0 cpus=64 recording=1 per_vcpu=1 histograms=0\n"
    );
    let mut lines = 2;
    let mut rows = |whose: &str, times: u64| {
        for reason in 0..REASONS {
            let exits = times * seconds * 10;
            let (reason, cycles) = (reason + 10, exits * 600);
            let name = format!("reason={reason} name=REASON_{reason}");
            writeln!(
                text,
                "{whose} {name} exits={exits} cycles={cycles} untimed=0"
            )
            .unwrap();
            lines += 1;
        }
    };
    rows("host", VMS * VCPUS);
    rows("ended", ended * VCPUS);
    for (vm, vcpu) in (ended..VMS).flat_map(|vm| (0..VCPUS).map(move |vcpu| (vm, vcpu))) {
        let id = vm * VCPUS + vcpu + 1;
        rows(
            &format!("vcpu vm={}-11 vcpu={vcpu} id={id:016x}", vm + 1000),
            1,
        );
    }
    text + &format!("end epoch=7 lines={lines}\n")
}

/// Runs the tool with so much memory, and with so much time that only more than linear growth
/// exceeds it in a debug build.
#[test]
fn many_vms_take_little_memory_and_time() {
    let dir = TempDir::new().unwrap();
    let module = dir.path().join("kvm_exitprof");
    fs::create_dir(&module).unwrap();
    fs::write(module.join("profile"), profile(100, 0)).unwrap();
    fs::write(dir.path().join("later"), profile(110, VMS / 2)).unwrap();
    for command in [
        "report --by vcpu --top 1 -i kvm_exitprof/profile",
        "diff kvm_exitprof/profile later",
        "stat --debugfs . --by vcpu --top 1 -- mv later kvm_exitprof/profile",
    ] {
        let script = format!("ulimit -v 204800 -t 30; \"$0\" {command}");
        let mut sh = Command::new("/bin/bash");
        sh.args(["-c", &script, env!("CARGO_BIN_EXE_exitprof")]);
        let run = sh.current_dir(dir.path()).output().unwrap();
        assert!(run.status.success(), "{command}: {run:?}");
    }
}
