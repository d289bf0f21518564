// SPDX-License-Identifier: GPL-2.0
//! Handlers that sleep: for how long is in their cycles, and the profiler may go
//! and come meanwhile.
//!
//! A guest that programs KVM's interval timer (PIT) waits in the exit's handler
//! until the thread that raises the timer's interrupts has raised the last one.
//! Here that thread does not get its CPU: a thread of a higher, real-time
//! priority has it until the test has seen enough.

use super::test;
use crate::cpus;
use crate::guest::Program;
use crate::leaf::{self, Books, cycles, query};
use crate::module::{Host, State};
use crate::ops::Op;
use crate::runner::Test;
use crate::vm::{Config, Vm};
use crate::watchdog;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::Duration;
use std::{fs, io, thread};

pub fn tests() -> Vec<Test> {
    vec![
        test("sleep.counted_to_its_end", State::Absent, counted),
        test("sleep.over_unload", State::Absent, unloaded),
        test("sleep.over_unload_and_load", State::Absent, reloaded),
    ]
}

/// Ports and a command of the interval timer: its first counter, periodically.
const COUNTER: u32 = 0x40;
const CONTROL: u32 = 0x43;
const PERIODIC: u32 = 0x34;

/// The kernel's thread of this name.
fn kernel_thread(name: &str) -> Result<libc::pid_t> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            return Ok(pid);
        }
    }
    anyhow::bail!("there is no thread {name}")
}

/// Whether the thread sleeps in the handler.
fn sleeps(tid: libc::pid_t) -> bool {
    let stack = fs::read_to_string(format!("/proc/self/task/{tid}/stack"));
    let stack = stack.unwrap_or_default();
    stack.contains("kthread_flush_work") && stack.contains("handle_exit_sampled")
}

/// Gives a thread, or the caller if `tid` is 0, a real-time priority.
fn prioritize(tid: libc::pid_t, priority: i32) -> Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: plain data, alive for the call.
    let r = unsafe { libc::sched_setscheduler(tid, libc::SCHED_FIFO, &raw const param) };
    ensure!(r == 0, "SCHED_FIFO: {}", io::Error::last_os_error());
    Ok(())
}

/// Keeps whatever has no higher priority off the CPU until `stop`.
fn occupy(cpu: usize, occupied: &AtomicBool, stop: &AtomicBool) -> Result<()> {
    cpus::pin(0, &[cpu])?;
    prioritize(0, 1)?;
    occupied.store(true, Relaxed);
    while !stop.load(Relaxed) {
        std::hint::spin_loop();
    }
    Ok(())
}

/// A VM with a timer, and what its guest does with it: it is programmed, must
/// have been due some time later, and is programmed again, which is when the
/// handler sleeps.
fn guest() -> Result<(Vm, Program)> {
    let vm = Vm::new(&Config {
        irqchip: true,
        pit: true,
        ..Config::default()
    })?;
    let mut program = Program::new();
    let set_timer = |program: &mut Program| {
        program.repeat(Op::OutTo, 1, CONTROL | PERIODIC << 16);
        // 4096 ticks of the timer's, 3.4 milliseconds, low byte first.
        program.repeat(Op::OutTo, 1, COUNTER);
        program.repeat(Op::OutTo, 1, COUNTER | 0x10 << 16);
    };
    set_timer(&mut program);
    // A hundred milliseconds, in thousands of ticks: emulators' timers may be late.
    program.repeat(Op::Spin, 1, vm.vcpus[0].tsc_khz()? / 10);
    set_timer(&mut program);
    program.repeat(Op::Vmcall, 23, 0);
    Ok((vm, program))
}

/// Runs the guest, and does `meanwhile` while its handler sleeps. Returns the
/// exits that KVM had counted by then, with the one that is being handled.
fn asleep(
    (vm, program): &mut (Vm, Program),
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let (all, cpu) = (cpus::usable()?, cpus::second()?);
    let others: Vec<_> = all.iter().copied().filter(|&other| other != cpu).collect();
    // By default real-time threads leave a twentieth of the time to others.
    let limit = "/proc/sys/kernel/sched_rt_runtime_us";
    fs::write(limit, "-1").context(limit)?;
    // What unloading waits for must go on, wherever it is.
    let rcu = kernel_thread("rcu_preempt").or_else(|_| kernel_thread("rcu_sched"))?;
    prioritize(rcu, 2)?;
    prioritize(kernel_thread(&format!("ksoftirqd/{cpu}"))?, 2)?;
    let timer = format!("kvm-pit/{}", std::process::id());
    cpus::pin(kernel_thread(&timer)?, &[cpu])?;
    cpus::pin(0, &others)?;
    let stat = vm.vcpus[0].stat()?;
    let (occupied, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let tid = AtomicI32::new(0);
    let exits = thread::scope(|scope| {
        let occupant = scope.spawn(|| occupy(cpu, &occupied, &stop));
        let guest = scope.spawn(|| {
            // SAFETY: gettid has no preconditions.
            tid.store(unsafe { libc::gettid() }, Relaxed);
            while !occupied.load(Relaxed) {
                watchdog::check()?;
            }
            vm.run(program)
        });
        let watch = || {
            while !sleeps(tid.load(Relaxed)) {
                ensure!(!guest.is_finished(), "no handler slept");
                watchdog::check()?;
                thread::sleep(Duration::from_millis(1));
            }
            let exits = stat.read()?;
            meanwhile()?;
            ensure!(sleeps(tid.load(Relaxed)), "the handler woke up by itself");
            Ok(exits)
        };
        let watched = watch();
        stop.store(true, Relaxed);
        occupant.join().ok().context("the occupant panicked")??;
        guest.join().ok().context("the guest panicked")??;
        watched
    });
    cpus::pin(0, &all)?;
    exits
}

/// The exit is counted once, with all the time that its handler took.
fn counted(host: &mut Host) -> Result<String> {
    const SLEEP_MS: u64 = 100;
    host.reload("log=N")?;
    let mut books = Books::since_load()?;
    let mut reader = Vm::plain()?;
    let mut guest = guest()?;
    let khz = u64::from(reader.vcpus[0].tsc_khz()?);
    let before = cycles(query(&mut reader, leaf::TOTAL_CYCLES, 0)?)?;
    asleep(&mut guest, || {
        thread::sleep(Duration::from_millis(SLEEP_MS));
        Ok(())
    })?;
    let took = cycles(query(&mut reader, leaf::TOTAL_CYCLES, 0)?)? - before;
    let least = SLEEP_MS * khz;
    ensure!(took >= least, "{took} cycles, slept {least}");
    let total = books.balance(&[&guest.0, &reader])?;
    Ok(format!(
        "{took} cycles, slept {least}, total {total} as KVM's"
    ))
}

/// Unloading does not wait for the handler, which ends with nobody to tell.
fn unloaded(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut guest = guest()?;
    asleep(&mut guest, || host.reach(State::Absent))?;
    host.reload("log=N")?;
    let total = Books::since_load()?.balance(&[])?;
    Ok(format!("total {total} as KVM's"))
}

/// An exit that began with one profiler is not counted by the next.
fn reloaded(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut guest = guest()?;
    let before = asleep(&mut guest, || host.reload("log=N"))?;
    let since = guest.0.exits()? - before;
    let (total, readers) = Books::since_load()?.compare(&[])?;
    let stat = readers + since;
    ensure!(total == stat, "total {total}, KVM's statistic {stat}");
    Ok(format!("{since} exits since, total {total} as KVM's"))
}
