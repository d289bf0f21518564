// SPDX-License-Identifier: GPL-2.0
//! Many vCPUs that exit for different reasons and read leaves meanwhile, while the host
//! moves them between its CPUs, and takes CPUs from them.

mod working;

use crate::harness::{Skip, Test, watchdog};
use crate::host::cpus::{self, Offline};
use crate::host::debugfs::ProfileFile;
use crate::host::{Host, State};
use crate::oracle::Oracle;
use crate::oracle::leaf::exits_of;
use crate::vmm::Vm;
use crate::vmm::cpu::HYPERCALL;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use working::{Work, while_working};

pub fn tests() -> Vec<Test<Host>> {
    let absent = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("smp.{name}"), State::Absent, run)
    };
    vec![
        absent("more_vcpus_than_cpus", crowd),
        absent("migrating_vcpus", migrating),
        absent("hotplugged_cpus", hotplugged),
        absent("offline_cpu_counts", offline),
        absent("cpu_comes_after_load", after_load),
        absent("tsc_behind", tsc_behind),
    ]
}

/// How long vCPUs are moved about.
const MIGRATING: Duration = Duration::from_secs(2);

/// Moves each thread to another CPU in turn, as fast as it can.
fn migrate(tids: &[libc::pid_t], cpus: &[usize]) -> Result<String> {
    let end = Instant::now() + MIGRATING;
    let mut moves = 0;
    while Instant::now() < end {
        watchdog::check()?;
        for (i, &tid) in tids.iter().enumerate() {
            cpus::pin(tid, &[cpus[(moves + i) % cpus.len()]])?;
        }
        moves += 1;
    }
    Ok(format!("each moved {moves} times"))
}

fn crowd(host: &mut Host) -> Result<String> {
    let watch = |_: &[_]| {
        thread::sleep(Duration::from_secs(1));
        Ok("left alone".into())
    };
    while_working(host, watch)?.fits()
}

fn migrating(host: &mut Host) -> Result<String> {
    cpus::second()?;
    let cpus = cpus::usable()?;
    while_working(host, |tids| migrate(tids, &cpus))?.fits()
}

/// All CPUs but the first go offline and come back, one at a time, with vCPUs on them.
fn hotplugged(host: &mut Host) -> Result<String> {
    const TIMES: usize = 20;
    cpus::second()?;
    let (first, others) = (cpus::first()?, cpus::usable()?.split_off(1));
    while_working(host, |tids| {
        for _ in 0..TIMES {
            for &cpu in &others {
                let moved = || tids.iter().skip(1).step_by(2);
                for &tid in moved() {
                    cpus::pin(tid, &[cpu])?;
                }
                thread::sleep(Duration::from_millis(5));
                // The kernel could move a thread without another CPU to any.
                for &tid in moved() {
                    cpus::pin(tid, &[cpu, first])?;
                }
                let offline = Offline::take(cpu)?;
                thread::sleep(Duration::from_millis(5));
                offline.end()?;
                watchdog::check()?;
            }
        }
        Ok(format!("each CPU but one gone and back {TIMES} times"))
    })?
    .fits()
}

/// What a CPU has counted stays in the sums while it is offline, and afterwards.
fn offline(host: &mut Host) -> Result<String> {
    let cpu = cpus::second()?;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut vm = Vm::plain()?;
    let mut want = 0;
    let mut check = |vm: &mut Vm, when: &str| {
        let got = exits_of(vm, HYPERCALL.number())?;
        ensure!(got == want, "{when}: want {want} got {got}");
        want += 1009;
        oracle.check(&[vm]).context(when.to_owned())
    };
    for _ in 0..3 {
        check(&mut vm, "online")?;
        cpus::on(cpu, || vm.hypercalls(1009))??;
        let offline = Offline::take(cpu)?;
        check(&mut vm, "offline")?;
        cpus::on(cpus::first()?, || vm.hypercalls(1009))??;
        offline.end()?;
    }
    let total = check(&mut vm, "online again")?;
    Ok(format!("total {total} as KVM's"))
}

/// A CPU that was offline when the profiler was loaded counts from zero.
fn after_load(host: &mut Host) -> Result<String> {
    let cpu = cpus::second()?;
    let offline = Offline::take(cpu)?;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut vm = Vm::plain()?;
    offline.end()?;
    cpus::on(cpu, || vm.hypercalls(1009))??;
    let got = exits_of(&mut vm, HYPERCALL.number())?;
    ensure!(got == 1009, "want 1009 got {got}");
    let total = oracle.check(&[&vm])?;
    Ok(format!("want 1009 got {got}, total {total} as KVM's"))
}

/// TSCs are far apart. A handler that ends on a CPU whose TSC is behind counts no
/// cycles, so cycles never fall. One that ends on the CPU ahead takes too long by the
/// difference, which shows that handlers move.
fn tsc_behind(host: &mut Host) -> Result<String> {
    let (first, cpu) = (cpus::first()?, cpus::second()?);
    host.reach(State::Absent)?;
    // At least half a second, which no handler takes. The CPU's timers may be late by
    // it.
    let half_a_second = u64::from(Vm::plain()?.vcpus[0].tsc_khz()?) * 500;
    let ahead = half_a_second.next_power_of_two();
    let is_ahead = || anyhow::Ok(cpus::tsc_on(cpu)? >= cpus::tsc_on(first)? + ahead / 2);
    // The kernel's clock must not jump.
    fs::write(CLOCKSOURCE, "acpi_pm").context(CLOCKSOURCE)?;
    // Slow kernels hardly ever move a handler, and a CPU that has been idle sets its
    // TSC back.
    for _ in 0..10 {
        let mut vcpus = 0;
        let Work { note, .. } = while_working(host, |tids| {
            vcpus = tids.len() as u64;
            cpus::advance_tsc(cpu, ahead)?;
            if !is_ahead()? {
                return Err(Skip::because("this machine's TSCs cannot be set"));
            }
            let moved = migrate(tids, &[first, cpu]);
            if is_ahead()? {
                cpus::advance_tsc(cpu, ahead.wrapping_neg())?;
            }
            moved
        })?;
        let mut late = 0;
        for line in ProfileFile::read()?.of("host") {
            // A query that waits may be late by `ahead`, and end on the CPU ahead.
            ensure!(line.number("max")? < 3 * ahead, "{line:?}");
            late += line
                .log2()?
                .range(ahead.ilog2().min(29)..)
                .map(|(_, n)| n)
                .sum::<u64>();
        }
        // Each vCPU may have been in a handler when the TSC was advanced.
        if let Some(moved @ 1..) = late.checked_sub(vcpus) {
            return Ok(format!("{note}, {moved} handlers ended on the CPU ahead"));
        }
    }
    bail!("no handler was moved, ten times")
}

const CLOCKSOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
