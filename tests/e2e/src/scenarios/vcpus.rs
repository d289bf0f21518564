// SPDX-License-Identifier: GPL-2.0
//! Whose exits: the profiles of vCPUs and VMs that the host sees.

use super::doctored::{Doctored, WITHOUT_VCPU_MEMORY};
use super::leaves::ask;
use super::{log, test};
use crate::harness::effort::Effort;
use crate::harness::runner::Test;
use crate::harness::watchdog;
use crate::host::cpus;
use crate::host::debugfs::{Reasons, Vcpus, kvm_dir, vcpu_dir, vm_dir, vms};
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State};
use crate::oracle::leaf::{self, Books};
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub fn tests(effort: Effort) -> Vec<Test> {
    vec![
        test("vcpu.own_exits", State::Absent, own_exits),
        test("vcpu.ended", State::Absent, ended),
        test("vcpu.already_running", State::Absent, |host| {
            cpus::changing_code(|| already_running(host))
        }),
        test("vcpu.on_all_cpus", State::Absent, on_all_cpus),
        Test {
            seconds: 180 * u64::from(effort.factor),
            ..test("vcpu.many_vms", State::Absent, move |host| {
                many_vms(host, effort)
            })
        },
        Test {
            seconds: 180 * u64::from(effort.factor),
            ..test("vcpu.created_while_loading", State::Absent, move |host| {
                cpus::changing_code(|| created_while_loading(host, effort))
            })
        },
        test("vcpu.report", State::Absent, report),
        test("vcpu.without_memory", State::Absent, without_memory),
        test("vcpu.not_wanted", State::Absent, not_wanted),
    ]
}

fn vmcalls(count: u32) -> Program {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, count, 0);
    program
}

/// Demands that each of `vms`, which are all that there are and began after the
/// profiler, has what KVM's own statistic has, by vCPU and in sum. Returns the
/// table.
fn agree(all: &[&Vm]) -> Result<Vcpus> {
    let table = Vcpus::read()?;
    table.add_up()?;
    let mut names: Vec<_> = all.iter().map(|vm| vm.name()).collect();
    names.sort();
    let dirs = vms()?;
    ensure!(dirs == names, "directories {dirs:?}, VMs {names:?}");
    let rows: Vec<_> = table.vms.keys().cloned().collect();
    ensure!(rows == names, "rows {rows:?}, VMs {names:?}");
    for vm in all {
        let dir = kvm_dir(vm);
        ensure!(dir.is_dir(), "KVM has no {}", dir.display());
        for (index, vcpu) in vm.vcpus.iter().enumerate() {
            let want = vcpu.exits()?;
            let got = Reasons::read(&vcpu_dir(vm, index))?.total;
            ensure!(got.0 == want, "want {want} got {got:?}");
            let row = table.vcpus.get(&(vm.name(), vcpu.id()));
            ensure!(row == Some(&got), "file {got:?}, row {row:?}");
        }
        let (want, got) = (vm.exits()?, Reasons::read(&vm_dir(vm))?.total);
        ensure!(got.0 == want, "want {want} got {got:?}");
        let row = table.vms.get(&vm.name());
        ensure!(row == Some(&got), "file {got:?}, row {row:?}");
    }
    let host = Reasons::of_host()?.total;
    ensure!(
        host == table.total,
        "host {host:?}, table {:?}",
        table.total
    );
    Ok(table)
}

fn own_exits(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut one, mut two) = (Vm::with_vcpus(1)?, Vm::with_vcpus(2)?);
    one.run(&vmcalls(23))?;
    two.vcpus[0].run(&vmcalls(1009))?;
    two.vcpus[1].run(&vmcalls(10007))?;
    let table = agree(&[&one, &two])?;
    for (vm, index, want) in [(&one, 0, 23), (&two, 0, 1009), (&two, 1, 10007)] {
        let got = Reasons::read(&vcpu_dir(vm, index))?.exits(HYPERCALL.number());
        ensure!(got == want, "want {want} got {got}");
    }
    let both = Reasons::read(&vm_dir(&two))?.exits(HYPERCALL.number());
    ensure!(both == 11016, "want 11016 got {both}");
    let none = (table.ended, table.unattributed);
    ensure!(none == ((0, 0), (0, 0)), "{table:?}");
    Ok(format!(
        "want 23, 1009, 10007 got these, {} exits as KVM's",
        table.total.0
    ))
}

/// A VM's directory goes with it, and its exits stay in the sum of those that
/// have ended.
fn ended(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut stays, mut goes) = (Vm::with_vcpus(1)?, Vm::with_vcpus(2)?);
    stays.run(&vmcalls(23))?;
    goes.vcpus[0].run(&vmcalls(23))?;
    goes.vcpus[1].run(&vmcalls(23))?;
    let before = agree(&[&stays, &goes])?;
    let (name, exits) = (goes.name(), goes.exits()?);
    drop(goes);
    let after = agree(&[&stays])?;
    ensure!(after.total == before.total, "{before:?}, then {after:?}");
    ensure!(
        after.ended == before.vms[&name],
        "{before:?}, then {after:?}"
    );
    ensure!(after.ended.0 == exits, "want {exits} got {:?}", after.ended);
    drop(stays);
    let last = agree(&[])?;
    ensure!(last.ended == last.total, "{last:?}");
    Ok(format!("{exits} exits as KVM's, then {}", last.ended.0))
}

/// vCPUs that run when the profiler is loaded have profiles from then on.
fn already_running(host: &mut Host) -> Result<String> {
    let mut vm = Vm::with_vcpus(2)?;
    let stop = AtomicBool::new(false);
    let (dirs, name) = ([vcpu_dir(&vm, 0), vcpu_dir(&vm, 1)], vm.name());
    // Two seconds, for KVM_RUN to last for as long as the test.
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
            ensure!(times? <= 1, "KVM_RUN ended before there was a profile");
        }
        anyhow::Ok(())
    })?;
    let table = Vcpus::read()?;
    table.add_up()?;
    let exits: Vec<_> = table.vcpus.values().map(|&(exits, _)| exits).collect();
    ensure!(exits.len() == 2 && !exits.contains(&0), "{table:?}");
    ensure!(table.unattributed == (0, 0), "{table:?}");
    host.forget();
    Ok(format!("{exits:?} exits, none unattributed"))
}

/// vCPUs of one VM that run on all CPUs at once, and move.
fn on_all_cpus(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let cpus = cpus::usable()?;
    let mut vm = Vm::with_vcpus(4)?;
    let program = vmcalls(1009);
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
    let table = agree(&[&vm])?;
    let want = 4 * 50 * 1009;
    let got = Reasons::read(&vm_dir(&vm))?.exits(HYPERCALL.number());
    ensure!(got == want, "want {want} got {got}");
    ensure!(table.unattributed == (0, 0), "{table:?}");
    Ok(format!("want {want} got {got}"))
}

/// VMs come and go on all CPUs, 64 of them alive at once; nothing is lost.
fn many_vms(host: &mut Host, effort: Effort) -> Result<String> {
    const ALIVE: usize = 64;
    let rounds = 2 * effort.factor;
    host.reload("log=N")?;
    let start = Instant::now();
    let mut gone = 0;
    for _ in 0..rounds {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                thread::spawn(move || {
                    let mut vms = Vec::new();
                    for n in 0..ALIVE / 4 {
                        watchdog::check()?;
                        let mut vm = Vm::with_vcpus(1 + (n % 3) as u8)?;
                        for vcpu in &mut vm.vcpus {
                            vcpu.run(&vmcalls(23 + thread))?;
                        }
                        vms.push(vm);
                    }
                    anyhow::Ok(vms)
                })
            })
            .collect();
        let mut alive = Vec::new();
        for thread in threads {
            alive.extend(thread.join().expect("no thread panics")?);
        }
        let refs: Vec<_> = alive.iter().collect();
        let table = agree(&refs)?;
        ensure!(table.ended.0 == gone, "want {gone}: {table:?}");
        gone += alive.iter().map(Vm::exits).sum::<Result<u64>>()?;
        // On all CPUs at once, too.
        let mut alive = alive.into_iter();
        thread::scope(|scope| {
            for _ in 0..4 {
                let part: Vec<_> = alive.by_ref().take(ALIVE / 4).collect();
                scope.spawn(|| drop(part));
            }
        });
    }
    let table = agree(&[])?;
    ensure!(table.ended.0 == gone, "want {gone}: {table:?}");
    let took = start.elapsed();
    Ok(format!(
        "{rounds} times {ALIVE} VMs in {took:.1?}, {gone} exits as KVM's"
    ))
}

/// VMs come and go while the profiler does: whatever meets what, a profiler that
/// is loaded after that counts all.
fn created_while_loading(host: &mut Host, effort: Effort) -> Result<String> {
    let cycles = 20 * effort.factor;
    let stop = AtomicBool::new(false);
    let created = thread::scope(|scope| {
        let stop = &stop;
        let makers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(move || {
                    let mut created = 0;
                    while !stop.load(Relaxed) {
                        let mut vm = Vm::with_vcpus(2)?;
                        vm.vcpus[1].run(&vmcalls(23))?;
                        created += 1;
                    }
                    anyhow::Ok(created)
                })
            })
            .collect();
        let cycle = || {
            for i in 0..cycles {
                watchdog::check()?;
                host.load_profiler("log=N")?;
                thread::sleep(Duration::from_millis(u64::from(i % 4) * 5));
                host.unload_profiler()?;
            }
            anyhow::Ok(())
        };
        let cycled = cycle();
        stop.store(true, Relaxed);
        let mut created = 0;
        for maker in makers {
            created += maker.join().expect("no thread panics")?;
        }
        cycled.map(|()| created)
    })?;
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let mut vm = Vm::with_vcpus(2)?;
    vm.vcpus[1].run(&vmcalls(1009))?;
    let total = books.balance(&[&vm])?;
    let table = Vcpus::read()?;
    table.add_up()?;
    let row = table.vms.get(&vm.name()).map(|sample| sample.0);
    let want = vm.exits()?;
    ensure!(row == Some(want), "want {want}: {table:?}");
    Ok(format!(
        "{cycles} cycles, {created} VMs meanwhile, then total {total} as KVM's"
    ))
}

/// The table in the log, on demand.
fn report(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    vm.vcpus[1].run(&vmcalls(23))?;
    let mut log = Kmsg::from_now()?;
    module::set_param(PROFILER, "report", "vcpu")?;
    let ours = |line: &str| line.strip_prefix("kvm_exitprof: ").map(str::to_owned);
    let lines = log.collect(7, Duration::from_secs(2), ours)?;
    let logged = Vcpus::parse(&lines.join("\n"))?;
    logged.add_up()?;
    let (want, got) = (vm.exits()?, logged.vms.get(&vm.name()));
    ensure!(
        got.map(|sample| sample.0) == Some(want),
        "want {want}: {lines:?}"
    );
    let lines = lines.len();
    Ok(format!("{lines} lines, {want} exits as KVM's"))
}

/// A vCPU for whose profile there is no memory runs all the same: its exits are
/// nobody's, and a guest that is to read its own reads nothing.
fn without_memory(host: &mut Host) -> Result<String> {
    let mut absent = Vm::plain()?;
    let asked = [(leaf::DISCOVERY, 0), (leaf::TOTAL_EXITS, 0)];
    let absent = ask(&mut absent, &asked)?;
    Doctored::new(host, &WITHOUT_VCPU_MEMORY)?.load("log=N")?;
    host.forget();
    let mut vm = Vm::plain()?;
    let mut program = vmcalls(23);
    program.cpuid(leaf::SNAPSHOT, 1);
    let [eax, ..] = vm.run(&program)?[0];
    ensure!(eax == 0, "a snapshot without a profile");
    let table = Vcpus::read()?;
    table.add_up()?;
    let want = vm.exits()?;
    ensure!(table.unattributed.0 == want, "want {want}: {table:?}");
    ensure!(table.vcpus.is_empty() && vms()?.is_empty(), "{table:?}");
    // Whose query it is, the log cannot tell.
    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let answer = leaf::query(&mut vm, leaf::TOTAL_EXITS, 0)?;
    let line = log.expect("line", log::query_line)?;
    let told = log::answer(leaf::TOTAL_EXITS, 0, answer)?;
    let told = format!("{told} (a vCPU without a profile)");
    ensure!(line == told, "logged {line:?}, want {told:?}");
    module::set_param(PROFILER, "log", "N")?;
    for scope in ["vm", "vcpu"] {
        module::set_param(PROFILER, "scope", scope)?;
        let got = ask(&mut vm, &asked)?;
        ensure!(got == absent, "scope={scope}: {got:x?}, want {absent:x?}");
    }
    drop(vm);
    host.unload_profiler()?;
    Ok(format!("{want} exits unattributed, as KVM's"))
}

/// Without profiles of vCPUs, the host's counters are what they were.
fn not_wanted(host: &mut Host) -> Result<String> {
    host.reload("log=N per_vcpu=N")?;
    let mut books = Books::since_load()?;
    let mut vm = Vm::with_vcpus(1)?;
    vm.run(&vmcalls(23))?;
    let total = books.balance(&[&vm])?;
    let dirs = vms()?;
    ensure!(dirs.is_empty(), "{dirs:?}");
    let got = Reasons::of_host()?.exits(HYPERCALL.number());
    ensure!(got == 23, "want 23 got {got}");
    let table = Vcpus::read()?;
    table.add_up()?;
    ensure!(table.vms.is_empty() && table.vcpus.is_empty(), "{table:?}");
    // The log tells nevertheless who asks.
    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let answer = leaf::query(&mut vm, leaf::TOTAL_EXITS, 0)?;
    let line = log.expect("line", log::query_line)?;
    let told = log::answer(leaf::TOTAL_EXITS, 0, answer)?;
    let told = format!("{told} (pid {}, vCPU 0)", vm.pid);
    ensure!(line == told, "logged {line:?}, want {told:?}");
    for scope in ["vm", "vcpu"] {
        let error = module::set_param(PROFILER, "scope", scope).err();
        let error = error.context("scope was set without profiles")?;
        ensure!(format!("{error:#}").contains("nvalid"), "{error:#}");
        let insert = host.reload(&format!("per_vcpu=N scope={scope}"));
        ensure!(insert.is_err(), "loaded with scope={scope}");
        host.reload("log=N per_vcpu=N")?;
    }
    Ok(format!("want 23 got {got}, total {total} as KVM's"))
}
