// SPDX-License-Identifier: GPL-2.0
//! Hostile guests: random queries from all vCPUs at once, in each mode of the CPU,
//! natively and through KVM's emulator, at full speed.
//!
//! The right answers are read before, without any disturbance: KVM's own before the
//! profiler is loaded, and then the profiler's.

mod fuzzer;
mod query;

use crate::harness::{Effort, Test};
use crate::host::debugfs::ProfileFile;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, Kmsg, State, cpus};
use crate::oracle::leaf::{self, IDENTITY, PROTOCOL, TOTAL_EXITS};
use crate::oracle::log::{bounds, query_line, suppressed};
use crate::oracle::snapshot::{Held, live};
use crate::oracle::{Model, Rising, Sweep, Want, Which};
use crate::vmm::{BATCH, CpuidLoop, Mode, Op, Program, Query, Regs, Vm};
use anyhow::{Context, Result, ensure};
use fuzzer::{Done, Fuzzer, crowd, emulation, fuzzers, run};
use std::iter::repeat_with;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// With more effort these tests repeat, each time with another seed. So the host's log
/// is checked now and then, and a failure is soon repeated.
pub fn tests(effort: Effort) -> Vec<Test<Host>> {
    let seeds = (0..u64::from(effort.factor)).map(|n| effort.seed.wrapping_add(n));
    seeds.flat_map(tests_from).collect()
}

fn tests_from(seed: u64) -> [Test<Host>; 4] {
    let fuzz = |name: &str, run: fn(&mut Host, u64) -> Result<String>| {
        let run = move |host: &mut Host| {
            let text = run(host, seed).with_context(|| format!("seed {seed:#x}"))?;
            Ok(format!("seed {seed:#x}: {text}"))
        };
        Test::new(format!("fuzz.{name}"), State::Absent, run).seconds(300)
    };
    [
        fuzz("frozen", frozen),
        fuzz("counting", counting),
        fuzz("switched", |host, seed| {
            cpus::changing_code(|| switched(host, seed))
        }),
        fuzz("faulting", faulting),
    ]
}

/// CPUIDs of all vCPUs together.
const READS: usize = 100_000;

/// Each fuzzer's share of the reads.
fn each(fuzzers: &[Fuzzer<'_>]) -> impl Fn(&Done) -> bool + use<> {
    let reads = READS / fuzzers.len();
    move |done| done.reads < reads
}

/// Causes different numbers of exits, and sweeps them in an undisturbed guest.
fn record_some() -> Result<(Vm, Sweep)> {
    let mut calm = Vm::plain()?;
    let mut program = Program::new();
    for (op, count) in [(Op::Vmcall, 23), (Op::Wbinvd, 29), (Op::Out, 31)] {
        program.repeat(op, count, 0);
    }
    calm.run(&program)?;
    let sweep = Sweep::read(&mut calm)?;
    Ok((calm, sweep))
}

/// With recording off, every answer is known before, and is also the model's. The
/// host's log stays within its bounds.
fn frozen(host: &mut Host, seed: u64) -> Result<String> {
    let mut vm = crowd()?;
    let mut fuzzers = fuzzers(&mut vm, seed, true)?;
    host.reload("log=N")?;
    let (mut calm, _) = record_some()?;
    module::set_param(PROFILER, "recording", "N")?;
    let sweep = Sweep::read(&mut calm)?;
    let model = Model::new(&sweep);
    let judges = repeat_with(|| {
        let (sweep, model, mut held) = (&sweep, &model, Held::default());
        move |query, got| {
            if let Some(want) = sweep.answer(query, held)? {
                let model = model.answer(query, held);
                ensure!(
                    model == Some(want),
                    "want {want:x?}, the model has {model:x?}"
                );
            }
            sweep.check(query, got, &mut held)
        }
    });

    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let start = Instant::now();
    let more = each(&fuzzers);
    let done = run(&mut fuzzers, judges, more, || Ok(()))?;
    let took = start.elapsed();
    // After a second, a line tells how many were suppressed.
    thread::sleep(Duration::from_secs(3));
    let lines = log.drain()?;
    let all = ProfileFile::read()?.account()?.number("suppressed")? as usize;
    let after = Sweep::read(&mut calm)?;
    module::set_param(PROFILER, "recording", "Y")?;
    ensure!(sweep == after, "a counter moved");

    let logged = lines.iter().filter_map(|l| query_line(l)).count();
    let dropped: Vec<usize> = lines.iter().filter_map(|l| suppressed(l)).collect();
    let text = format!(
        "{}, {logged} logged, {all} suppressed, {dropped:?} by the log",
        tell(&fuzzers, &done, took)
    );
    // Each vCPU may log one line before it has a share of its guest's.
    let bounds = bounds(took);
    let bounds = *bounds.start()..bounds.end() + fuzzers.len();
    ensure!(bounds.contains(&logged), "{text}, want {bounds:?}");
    ensure!(dropped.len() == 1, "{text}, in {} lines", dropped.len());
    ensure!(logged + all == done.for_log, "{text}, of {}", done.for_log);
    Ok(text)
}

fn tell(fuzzers: &[Fuzzer<'_>], done: &Done, took: Duration) -> String {
    let Done {
        reads, emulated, ..
    } = done;
    let (vcpus, rate) = (fuzzers.len(), *reads as f64 / took.as_secs_f64());
    format!("{reads} reads by {vcpus} vCPUs, {emulated} of them emulated, {rate:.0}/s")
}

/// While exits are counted, no live number falls, and no number of a snapshot changes.
/// The total rises at least by a reader's own exits. No number exceeds that of an
/// undisturbed sweep afterwards.
fn counting(host: &mut Host, seed: u64) -> Result<String> {
    let mut vm = crowd()?;
    let mut fuzzers = fuzzers(&mut vm, seed ^ 1, true)?;
    host.reload("log=N")?;
    let (mut calm, before) = record_some()?;
    let rising = || Rising::new(before.clone());
    let mut all: Vec<_> = fuzzers.iter().map(|_| rising()).collect();
    let judges = all.iter_mut().map(|rising| {
        // At least the reader's own exits are added.
        let mut least = before.counts[&Which::All].exits;
        move |query: Query, got| {
            least += 1;
            if query.0 == TOTAL_EXITS {
                let total = leaf::exits(got)?;
                ensure!(total >= least, "want {least} at least");
                least = total;
            }
            rising.follow(query, got)
        }
    });
    let start = Instant::now();
    let more = each(&fuzzers);
    let done = run(&mut fuzzers, judges, more, || Ok(()))?;
    let took = start.elapsed();
    let after = Sweep::read(&mut calm)?;
    all.iter().try_for_each(|r| r.sweep.check_before(&after))?;
    Ok(tell(&fuzzers, &done, took))
}

/// While the profiler comes and goes, and its recording is switched, answers are the
/// profiler's or KVM's own.
fn switched(host: &mut Host, seed: u64) -> Result<String> {
    const TIMES: usize = 5;
    let mut vm = crowd()?;
    let mut fuzzers = fuzzers(&mut vm, seed ^ 2, false)?;
    host.reload("log=N")?;
    let (calm, sweep) = record_some()?;
    host.reach(State::Absent)?;

    let (start, started) = (Instant::now(), cpus::tsc());
    let mut most = vec![(0, 0); fuzzers.len()];
    let judges = most.iter_mut().map(|most| {
        let sweep = &sweep;
        move |query: Query, got: Regs| {
            if live(query.0).is_some() && got == leaf::UNDEFINED {
                return Ok(());
            }
            let count = match sweep.want(query)? {
                // Each load has its own epoch.
                Want::Is(want) if query.0 == PROTOCOL => {
                    let but_epoch = |[eax, ebx, _, edx]: Regs| [eax, ebx, edx];
                    ensure!(but_epoch(got) == but_epoch(want), "want {want:x?}");
                    return Ok(());
                }
                // And its own identity.
                Want::Is(_) if live(query.0).unwrap_or(query.0) == IDENTITY => {
                    return leaf::identity(got).map(drop);
                }
                Want::Is(want) => {
                    ensure!(got == want, "want {want:x?}");
                    return Ok(());
                }
                Want::Counts(figure, _) => figure.decode(got)?,
                Want::Snapshot(_) => return leaf::snapshot(got).map(drop),
            };
            most.0 = most.0.max(count.exits).max(count.untimed);
            most.1 = most.1.max(count.cycles);
            Ok(())
        }
    });
    let stop = AtomicBool::new(false);
    let switch = || {
        let pause = || thread::sleep(Duration::from_millis(20));
        for _ in 0..TIMES {
            host.load_profiler("log=N")?;
            pause();
            for value in ["N", "Y"] {
                module::set_param(PROFILER, "recording", value)?;
                pause();
            }
            host.unload_profiler()?;
            pause();
        }
        anyhow::Ok(())
    };
    let meanwhile = || {
        let switched = switch();
        stop.store(true, Ordering::Relaxed);
        switched
    };
    let more = |_: &Done| !stop.load(Ordering::Relaxed);
    let done = run(&mut fuzzers, judges, more, meanwhile)?;
    let text = tell(&fuzzers, &done, start.elapsed());
    let [ours, own] = done.discoveries;
    ensure!(ours > 0 && own > 0, "{text}: present {ours}, absent {own}");
    drop(fuzzers);
    let bound = (
        vm.exits()? + calm.exits()?,
        (cpus::tsc() - started) * vm.vcpus.len() as u64,
    );
    for most in most {
        let text = format!("{most:?} counted, {bound:?} happened");
        ensure!(most.0 > 0 && most.0 < bound.0 && most.1 < bound.1, "{text}");
    }
    Ok(format!(
        "{text}, {TIMES} times; discovered {ours}, not {own}"
    ))
}

/// CPUID faulting wins: ring 3 gets no answer, and the log no line.
fn faulting(host: &mut Host, seed: u64) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut fuzzers = fuzzers(&mut vm, seed ^ 3, true)?;
    let fuzzer = &mut fuzzers[0];
    host.reload("log=N")?;
    let (mut calm, _) = record_some()?;
    module::set_param(PROFILER, "recording", "N")?;
    let sweep = Sweep::read(&mut calm)?;
    let mut held = Held::default();
    let mut judge = |query, got| sweep.check(query, got, &mut held);
    let _emulation = emulation()?;
    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let [ring0, ring3] = [0, 3].map(|ring| Mode::Protected { ring });
    for emulated in [false, true] {
        fuzzer.cpuids.set_faulting(true)?;
        let mut batch = [(); BATCH].map(|()| {
            let (query, _) = fuzzer.query();
            let [rax, _, rcx, rdx] = fuzzer.registers(query);
            [rax, CpuidLoop::after(ring3, emulated).into(), rcx, rdx]
        });
        let before = batch;
        fuzzer.cpuids.run(ring3, emulated, &mut batch)?;
        let answered = before.iter().zip(batch).find(|(b, a)| *b != a);
        ensure!(answered.is_none(), "CPUID in ring 3: {answered:x?}");
        fuzzer.ask(ring0, emulated, &mut judge)?;
        fuzzer.cpuids.set_faulting(false)?;
        fuzzer.ask(ring3, emulated, &mut judge)?;
    }
    module::set_param(PROFILER, "recording", "Y")?;
    // After its first line about suppressed ones, the module tells the rest as it goes.
    host.reach(State::Absent)?;
    let tells = |line: &str| suppressed(line).or(query_line(line).map(|_| 1));
    let logged: usize = log.drain()?.iter().filter_map(|line| tells(line)).sum();
    let Done { reads, for_log, .. } = fuzzer.done;
    ensure!(logged == for_log, "{logged} lines for {for_log} queries");
    Ok(format!("{} faults, {reads} answers", 2 * BATCH))
}
