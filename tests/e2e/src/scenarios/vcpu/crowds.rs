// SPDX-License-Identifier: GPL-2.0
//! Many VMs that come and go.

use crate::harness::{Effort, watchdog};
use crate::host::Host;
use crate::host::debugfs::VcpusTable;
use crate::oracle::Oracle;
use crate::oracle::attribution::check_attribution;
use crate::vmm::Vm;
use anyhow::{Result, ensure};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// VMs come and go on all CPUs, 64 of them alive at once, and no exit is lost.
pub fn many_vms(host: &mut Host, effort: Effort) -> Result<String> {
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
                            vcpu.hypercalls(23 + thread)?;
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
        let table = check_attribution(&refs)?;
        ensure!(table.ended.0 == gone, "want {gone}: {table:?}");
        gone += alive.iter().map(Vm::exits).sum::<Result<u64>>()?;
        // They end on all CPUs at once, too.
        let mut alive = alive.into_iter();
        thread::scope(|scope| {
            for _ in 0..4 {
                let part: Vec<_> = alive.by_ref().take(ALIVE / 4).collect();
                scope.spawn(|| drop(part));
            }
        });
    }
    let table = check_attribution(&[])?;
    ensure!(table.ended.0 == gone, "want {gone}: {table:?}");
    let took = start.elapsed();
    Ok(format!(
        "{rounds} times {ALIVE} VMs in {took:.1?}, {gone} exits as KVM's"
    ))
}

/// VMs come and go while the profiler does. A profiler that is loaded afterwards counts
/// all exits.
pub fn created_while_loading(host: &mut Host, effort: Effort) -> Result<String> {
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
                        vm.vcpus[1].hypercalls(23)?;
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
    let mut oracle = Oracle::since_load()?;
    let mut vm = Vm::with_vcpus(2)?;
    vm.vcpus[1].hypercalls(1009)?;
    let total = oracle.check(&[&vm])?;
    let table = VcpusTable::read()?;
    table.check_sums()?;
    let row = table.vms.get(&vm.name()).map(|counted| counted.0);
    let want = vm.exits()?;
    ensure!(row == Some(want), "want {want}: {table:?}");
    Ok(format!(
        "{cycles} cycles, {created} VMs meanwhile, then total {total} as KVM's"
    ))
}
