// SPDX-License-Identifier: GPL-2.0
//! Handlers that sleep: their cycles include the sleep, and the profiler may come and
//! go meanwhile.
//!
//! A guest that programs KVM's interval timer (PIT) waits in the exit's handler until
//! the thread that raises the timer's interrupts has raised the last one. In these
//! tests that thread does not get its CPU, because a thread with a real-time priority
//! has it.

use crate::harness::{Test, threads, watchdog};
use crate::host::{Host, State, cpus};
use crate::oracle::Oracle;
use crate::oracle::leaf::{self, cycles};
use crate::vmm::{Config, Op, Program, Vm};
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::Duration;
use std::{fs, io, thread};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("sleep.counted_to_its_end", State::Absent, counted),
        Test::new("sleep.over_unload", State::Absent, unloaded),
        Test::new("sleep.over_unload_and_load", State::Absent, reloaded),
    ]
}

/// Ports of the interval timer, and its command for periodic interrupts.
const COUNTER: u32 = 0x40;
const CONTROL: u32 = 0x43;
const PERIODIC: u32 = 0x34;

/// The kernel's threads whose names begin with `name`.
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

/// Whether the thread sleeps in the handler. If there is nothing to wait for, it only
/// passes through that code, where it may be preempted.
fn sleeps(tid: libc::pid_t) -> bool {
    let file = |name| fs::read_to_string(format!("/proc/self/task/{tid}/{name}"));
    // Whether it sleeps, and how often it has begun to.
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

/// Gives a thread, or the caller if `tid` is 0, a real-time priority, or with 0 none.
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

/// Threads with a priority above that of a CPU's occupant.
struct Prior(Vec<libc::pid_t>);

impl Prior {
    /// Those that unloading may wait for: RCU's on any CPU, and this CPU's for softirqs
    /// and work items. One of these may hold a lock already.
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
            // The thread may have ended.
            let _ = prioritize(tid, 0);
        }
    }
}

/// The scheduler's fair server, switched off. Since 6.12, it gives a CPU to threads that a
/// real-time thread has kept off it for a second.
struct FairServer {
    file: String,
    runtime: String,
}

impl FairServer {
    /// Switches it off; `None` if the kernel has none.
    fn off(cpu: usize) -> Result<Option<Self>> {
        let file = format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime");
        let Ok(runtime) = fs::read_to_string(&file) else {
            return Ok(None);
        };
        fs::write(&file, "0").with_context(|| file.clone())?;
        Ok(Some(Self { file, runtime }))
    }
}

impl Drop for FairServer {
    fn drop(&mut self) {
        // Later tests do not starve a thread.
        let _ = fs::write(&self.file, &self.runtime);
    }
}

/// Keeps threads without a higher priority off the CPU until `stop`.
fn occupy(cpu: usize, occupied: &AtomicBool, stop: &AtomicBool) -> Result<()> {
    cpus::pin(0, &[cpu])?;
    prioritize(0, 1).context("SCHED_FIFO")?;
    occupied.store(true, Relaxed);
    while !stop.load(Relaxed) {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Keeps a thread that repeats `work` off its CPU for `time`. Returns the ticks of the TSC
/// for which that was.
pub fn kept_off(time: Duration, mut work: impl FnMut() -> Result<()> + Send) -> Result<u64> {
    let (all, cpu) = (cpus::usable()?, cpus::second()?);
    let limit = "/proc/sys/kernel/sched_rt_runtime_us";
    fs::write(limit, "-1").context(limit)?;
    let _server = FairServer::off(cpu)?;
    let (occupied, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let ticks = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            cpus::pin(0, &[cpu])?;
            while !stop.load(Relaxed) {
                work()?;
            }
            anyhow::Ok(())
        });
        let others: Vec<_> = all.iter().copied().filter(|&other| other != cpu).collect();
        cpus::pin(0, &others)?;
        thread::sleep(Duration::from_millis(20));
        let over = AtomicBool::new(false);
        let ticks = thread::scope(|scope| {
            let occupant = scope.spawn(|| occupy(cpu, &occupied, &over));
            while !occupied.load(Relaxed) && !occupant.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            let start = cpus::tsc();
            thread::sleep(time);
            let ticks = cpus::tsc() - start;
            over.store(true, Relaxed);
            occupant.join().ok().context("the occupant panicked")??;
            anyhow::Ok(ticks)
        });
        stop.store(true, Relaxed);
        worker.join().ok().context("the worker panicked")??;
        ticks
    });
    cpus::pin(0, &all)?;
    ticks
}

/// A VM with a timer, and a program that sets the timer, waits until it is due, and
/// sets it again. That is when the handler sleeps.
pub fn guest() -> Result<(Vm, Program)> {
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
    // A hundred milliseconds, because emulators' timers may be late.
    program.repeat(Op::Spin, 1, vm.vcpus[0].tsc_khz()? / 10);
    set_timer(&mut program);
    program.repeat(Op::Vmcall, 23, 0);
    Ok((vm, program))
}

/// Runs the guest until its handler sleeps, and does `meanwhile` then. Returns the
/// exits that KVM had counted by then, including the one that is being handled.
pub fn asleep(
    (vm, program): &mut (Vm, Program),
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<u64> {
    let (all, cpu) = (cpus::usable()?, cpus::second()?);
    let others: Vec<_> = all.iter().copied().filter(|&other| other != cpu).collect();
    // By default real-time threads leave 5 % of the time to others.
    let limit = "/proc/sys/kernel/sched_rt_runtime_us";
    fs::write(limit, "-1").context(limit)?;
    let _server = FairServer::off(cpu)?;
    let _prior = Prior::on(cpu)?;
    // The thread of another VM may still be there.
    let timers = kernel_threads(&format!("kvm-pit/{}", std::process::id()))?;
    let pinned = timers
        .into_iter()
        .filter(|&tid| cpus::pin(tid, &[cpu]).is_ok());
    ensure!(pinned.count() > 0, "the timer has no thread");
    cpus::pin(0, &others)?;
    let stat = vm.vcpus[0].stat("exits")?;
    let (occupied, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let tid = AtomicI32::new(0);
    let exits = thread::scope(|scope| {
        let occupant = scope.spawn(|| occupy(cpu, &occupied, &stop));
        let guest = scope.spawn(|| {
            tid.store(threads::id(), Relaxed);
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
            let same = stat.read()? == exits && sleeps(tid.load(Relaxed));
            ensure!(same, "the handler woke up by itself");
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

/// The exit is counted once, with all of its handler's time.
fn counted(host: &mut Host) -> Result<String> {
    const SLEEP_MS: u64 = 100;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut reader = Vm::plain()?;
    let mut guest = guest()?;
    let khz = u64::from(reader.vcpus[0].tsc_khz()?);
    let before = cycles(reader.cpuid(leaf::TOTAL_CYCLES, 0)?)?;
    asleep(&mut guest, || {
        thread::sleep(Duration::from_millis(SLEEP_MS));
        Ok(())
    })?;
    let took = cycles(reader.cpuid(leaf::TOTAL_CYCLES, 0)?)? - before;
    let least = SLEEP_MS * khz;
    ensure!(took >= least, "{took} cycles, slept {least}");
    let total = oracle.check(&[&guest.0, &reader])?;
    Ok(format!(
        "{took} cycles, slept {least}, total {total} as KVM's"
    ))
}

/// Unloading does not wait for the handler, which ends without a profiler.
fn unloaded(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut guest = guest()?;
    asleep(&mut guest, || host.reach(State::Absent))?;
    host.reload("log=N")?;
    let total = Oracle::since_load()?.check(&[])?;
    Ok(format!("total {total} as KVM's"))
}

/// An exit that began with one profiler is not counted by the next.
fn reloaded(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut guest = guest()?;
    let before = asleep(&mut guest, || host.reload("log=N"))?;
    let since = guest.0.exits()? - before;
    let (total, readers) = Oracle::since_load()?.compare(&[])?;
    let stat = readers + since;
    ensure!(total == stat, "total {total}, KVM's statistic {stat}");
    Ok(format!("{since} exits since, total {total} as KVM's"))
}
