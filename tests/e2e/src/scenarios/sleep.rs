// SPDX-License-Identifier: GPL-2.0
//! Handlers that sleep: for how long is in their cycles, and the profiler may go
//! and come meanwhile.
//!
//! A guest that programs KVM's interval timer (PIT) waits in the exit's handler
//! until the thread that raises the timer's interrupts has raised the last one.
//! Here that thread does not get its CPU: a thread of a higher, real-time
//! priority has it until the test has seen enough.

use super::test;
use crate::harness::runner::Test;
use crate::harness::watchdog;
use crate::host::cpus;
use crate::host::module::{Host, State};
use crate::oracle::leaf::{self, Books, cycles, query};
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vm};
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

/// The kernel's threads whose names begin so.
fn kernel_threads(name: &str) -> Result<Vec<libc::pid_t>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if comm.starts_with(name) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Whether the thread sleeps in the handler. It only passes through where it would
/// sleep if there is nothing to wait for, and may be preempted there.
fn sleeps(tid: libc::pid_t) -> bool {
    let file = |name| fs::read_to_string(format!("/proc/self/task/{tid}/{name}"));
    // Whether it waits, and how often it has begun to.
    let state = || {
        let status = file("status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        (field("State:"), field("voluntary_ctxt_switches:"))
    };
    let before = state();
    let stack = file("stack").unwrap_or_default();
    let there = stack.contains("kthread_flush_work") && stack.contains("kvm_arch_vcpu_ioctl_run");
    there && before.0.starts_with('D') && before == state()
}

/// Gives a thread, or the caller if `tid` is 0, a real-time priority, or none if it
/// is 0.
fn prioritize(tid: libc::pid_t, priority: i32) -> io::Result<()> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    let policy = match priority {
        0 => libc::SCHED_OTHER,
        _ => libc::SCHED_FIFO,
    };
    // SAFETY: plain data, alive for the call.
    match unsafe { libc::sched_setscheduler(tid, policy, &raw const param) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Threads that the occupant of a CPU does not keep off it.
struct Prior(Vec<libc::pid_t>);

impl Prior {
    /// Those that unloading may wait for: RCU's, wherever they are, and of the CPU's own
    /// those for softirqs and for whatever else the kernel does there. One of these
    /// may hold a lock already.
    fn on(cpu: usize) -> Result<Self> {
        let mut prior = Self(Vec::new());
        for name in [
            "rcu_preempt".into(),
            "rcu_sched".into(),
            format!("ksoftirqd/{cpu}"),
            format!("kworker/{cpu}:"),
        ] {
            for tid in kernel_threads(&name)? {
                // Workers come and go.
                if prioritize(tid, 2).is_ok() {
                    prior.0.push(tid);
                }
            }
        }
        Ok(prior)
    }
}

impl Drop for Prior {
    fn drop(&mut self) {
        for &tid in &self.0 {
            // It may have ended.
            let _ = prioritize(tid, 0);
        }
    }
}

/// Keeps whatever has no higher priority off the CPU until `stop`.
fn occupy(cpu: usize, occupied: &AtomicBool, stop: &AtomicBool) -> Result<()> {
    cpus::pin(0, &[cpu])?;
    prioritize(0, 1).context("SCHED_FIFO")?;
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

/// Runs the guest, again if the timer was even later, and does `meanwhile` while its
/// handler sleeps. Returns the exits that KVM had counted by then, with the one that
/// is being handled.
fn asleep(
    (vm, program): &mut (Vm, Program),
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let (all, cpu) = (cpus::usable()?, cpus::second()?);
    let others: Vec<_> = all.iter().copied().filter(|&other| other != cpu).collect();
    // By default real-time threads leave a twentieth of the time to others.
    let limit = "/proc/sys/kernel/sched_rt_runtime_us";
    fs::write(limit, "-1").context(limit)?;
    let _prior = Prior::on(cpu)?;
    // That of another VM may not have gone yet.
    let timers = kernel_threads(&format!("kvm-pit/{}", std::process::id()))?;
    let pinned = timers
        .into_iter()
        .filter(|&tid| cpus::pin(tid, &[cpu]).is_ok());
    ensure!(pinned.count() > 0, "the timer has no thread");
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
            while !stop.load(Relaxed) {
                vm.run(program)?;
            }
            anyhow::Ok(())
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
