// SPDX-License-Identifier: GPL-2.0
//! The counts of vCPUs and VMs are KVM's own statistics.

use crate::harness::watchdog;
use crate::host::debugfs::{ExitsTable, VcpusTable, vcpu_dir, vm_dir};
use crate::host::module::{self, PROFILER};
use crate::host::{Host, Kmsg, cpus};
use crate::oracle::attribution::check_attribution;
use crate::oracle::log::ours;
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::{Op, Program, Vm};
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub fn own_exits(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut one, mut two) = (Vm::with_vcpus(1)?, Vm::with_vcpus(2)?);
    one.hypercalls(23)?;
    two.vcpus[0].hypercalls(1009)?;
    two.vcpus[1].hypercalls(10007)?;
    let table = check_attribution(&[&one, &two])?;
    for (vm, index, want) in [(&one, 0, 23), (&two, 0, 1009), (&two, 1, 10007)] {
        let got = ExitsTable::read(&vcpu_dir(vm, index))?.exits(HYPERCALL.number());
        ensure!(got == want, "want {want} got {got}");
    }
    let both = ExitsTable::read(&vm_dir(&two))?.exits(HYPERCALL.number());
    ensure!(both == 11016, "want 11016 got {both}");
    let none = (table.ended, table.unattributed);
    ensure!(none == ((0, 0), (0, 0)), "{table:?}");
    Ok(format!(
        "want 23, 1009, 10007 got these, {} exits as KVM's",
        table.total.0
    ))
}

/// When a VM ends, its directory goes, and its exits stay in the row `ended`.
pub fn ended(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut stays, mut goes) = (Vm::with_vcpus(1)?, Vm::with_vcpus(2)?);
    stays.hypercalls(23)?;
    goes.vcpus[0].hypercalls(23)?;
    goes.vcpus[1].hypercalls(23)?;
    let before = check_attribution(&[&stays, &goes])?;
    let (name, exits) = (goes.name(), goes.exits()?);
    drop(goes);
    let after = check_attribution(&[&stays])?;
    ensure!(after.total == before.total, "{before:?}, then {after:?}");
    ensure!(
        after.ended == before.vms[&name],
        "{before:?}, then {after:?}"
    );
    ensure!(after.ended.0 == exits, "want {exits} got {:?}", after.ended);
    drop(stays);
    let last = check_attribution(&[])?;
    ensure!(last.ended == last.total, "{last:?}");
    Ok(format!("{exits} exits as KVM's, then {}", last.ended.0))
}

/// vCPUs that run when the profiler is loaded are counted from then on.
pub fn already_running(host: &mut Host) -> Result<String> {
    let mut vm = Vm::with_vcpus(2)?;
    let stop = AtomicBool::new(false);
    let (dirs, name) = ([vcpu_dir(&vm, 0), vcpu_dir(&vm, 1)], vm.name());
    // Two seconds, so that KVM_RUN lasts as long as the test.
    let mut long = Program::new();
    let ten_ms = vm.vcpus[0].tsc_khz()? / 100;
    for _ in 0..200 {
        long.repeat(Op::Vmcall, 23, 0);
        long.repeat(Op::Spin, 1, ten_ms);
    }
    thread::scope(|scope| {
        let (first, second) = vm.vcpus.split_at_mut(1);
        let (long, stop) = (&long, &stop);
        let runs = [&mut first[0], &mut second[0]].map(|vcpu| {
            scope.spawn(move || {
                let mut times = 0;
                while !stop.load(Relaxed) {
                    vcpu.run(long)?;
                    times += 1;
                }
                anyhow::Ok(times)
            })
        });
        thread::sleep(Duration::from_millis(100));
        let appear = || {
            host.load_profiler("log=N")?;
            let end = Instant::now() + Duration::from_secs(5);
            while !dirs.iter().all(|dir| dir.is_dir()) {
                watchdog::check()?;
                ensure!(Instant::now() < end, "{name} has no directories");
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        let appeared = appear();
        stop.store(true, Relaxed);
        let times = runs.map(|run| run.join().expect("no thread panics"));
        appeared?;
        for times in times {
            ensure!(times? <= 1, "KVM_RUN ended before the vCPU was counted");
        }
        anyhow::Ok(())
    })?;
    let table = VcpusTable::read()?;
    table.check_sums()?;
    let exits: Vec<_> = table.vcpus.values().map(|&(exits, _)| exits).collect();
    ensure!(exits.len() == 2 && !exits.contains(&0), "{table:?}");
    ensure!(table.unattributed == (0, 0), "{table:?}");
    host.forget();
    Ok(format!("{exits:?} exits, none unattributed"))
}

/// The vCPUs of one VM run on all CPUs at once, and move.
pub fn on_all_cpus(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let cpus = cpus::usable()?;
    let mut vm = Vm::with_vcpus(4)?;
    let program = Program::repeated(Op::Vmcall, 1009, 0);
    thread::scope(|scope| {
        let (program, cpus) = (&program, &cpus);
        let runs: Vec<_> = (vm.vcpus.iter_mut().enumerate())
            .map(|(index, vcpu)| {
                scope.spawn(move || {
                    for time in 0..50 {
                        cpus::pin(0, &[cpus[(index + time) % cpus.len()]])?;
                        vcpu.run(program)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        runs.into_iter()
            .try_for_each(|run| run.join().expect("no thread panics"))
    })?;
    let table = check_attribution(&[&vm])?;
    let want = 4 * 50 * 1009;
    let got = ExitsTable::read(&vm_dir(&vm))?.exits(HYPERCALL.number());
    ensure!(got == want, "want {want} got {got}");
    ensure!(table.unattributed == (0, 0), "{table:?}");
    Ok(format!("want {want} got {got}"))
}

/// The log gets the table on demand.
pub fn report(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    vm.vcpus[1].hypercalls(23)?;
    let mut log = Kmsg::from_now()?;
    module::set_param(PROFILER, "report", "vcpu")?;
    let row = |line: &str| ours(line).map(str::to_owned);
    let lines = log.collect(7, Duration::from_secs(2), row)?;
    let logged = VcpusTable::parse(&lines.join("\n"))?;
    logged.check_sums()?;
    let (want, got) = (vm.exits()?, logged.vms.get(&vm.name()));
    ensure!(
        got.map(|counted| counted.0) == Some(want),
        "want {want}: {lines:?}"
    );
    let lines = lines.len();
    Ok(format!("{lines} lines, {want} exits as KVM's"))
}
