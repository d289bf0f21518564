// SPDX-License-Identifier: GPL-2.0
//! Phases: they add up to the time that passed, and each kind of waiting is in its own.

use super::sleep;
use crate::harness::{Test, threads, watchdog};
use crate::host::debugfs::ProfileFile;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, State, cpus};
use crate::oracle::phases::{Budget, PHASES};
use crate::oracle::{Oracle, catalog, leaf};
use crate::vmm::cpu::{HLT, IO};
use crate::vmm::{Config, Op, Program, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Duration;
use std::{fs, thread};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("phases.add_up", State::Profiled, add_up),
        Test::new("phases.userspace", State::Profiled, userspace),
        Test::new("phases.halted", State::Profiled, halted),
        Test::new("phases.polling", State::Profiled, polling),
        Test::new("phases.preempted", State::Profiled, preempted),
        Test::new("phases.sleeping", State::Absent, sleeping),
        Test::new("phases.of_guest", State::Profiled, of_guest),
        Test::new("phases.off", State::Profiled, off),
        Test::new("phases.switched_under_load", State::Profiled, |host| {
            cpus::changing_code(|| under_load(host))
        }),
    ]
}

/// The first vCPU's budget, while it does not run.
fn budget(vm: &Vm) -> Result<Budget> {
    let budget = Budget::of(&ProfileFile::read()?, vm, 0)?;
    budget.check_sum()?;
    Ok(budget)
}

/// Checks that a phase has as much time as was waited, and that none of it is in another
/// one.
fn check_wait(before: &Budget, after: &Budget, phase: &'static str, least: u64) -> Result<u64> {
    let grown = |phase| after.all(phase) - before.all(phase);
    let got = grown(phase);
    ensure!(got >= least, "{phase} grew by {got}, waited {least}");
    let passed = after.until - before.until;
    ensure!(got <= passed, "{phase} grew by {got} in {passed}");
    // What is left of the time is not enough for the wait.
    for other in PHASES.into_iter().filter(|&other| other != phase) {
        // Waiting for a kick or a CPU begins and ends in userspace.
        if other != "userspace" {
            let wrong = grown(other);
            ensure!(
                wrong < least,
                "{other} grew by {wrong}, waited {least} in {phase}"
            );
        }
    }
    Ok(got)
}

/// Whatever guests do, the phases of each vCPU add up to the time that passed between two
/// readings of the TSC, and its handlers' phases to the cycles of its exits.
fn add_up(host: &mut Host) -> Result<String> {
    host.reload("log=N phases=Y")?;
    let mut oracle = Oracle::since_load()?;
    let vms = catalog::run_all()?;
    let mut before = Vec::new();
    let file = ProfileFile::read()?;
    for vm in &vms {
        let budget = Budget::of(&file, vm, 0)?;
        budget.check_sum()?;
        for line in file.of_vcpu("vcpu", vm, 0) {
            let reason = line.text("reason")?;
            let of = |phase| budget.spent.get(&(reason.to_owned(), phase)).copied();
            let (handler, cycles) = (of("handler").unwrap_or(0), line.number("cycles")?);
            let away = of("preempted").unwrap_or(0) + of("sleeping").unwrap_or(0);
            // A handler's cycles include those in which it was switched out.
            ensure!(
                handler <= cycles && cycles <= handler + away,
                "{line:?}: {handler} in handlers, {away} away"
            );
        }
        before.push(budget);
    }
    // Nothing runs, so all time is userspace's.
    let earliest = cpus::tsc();
    let file = ProfileFile::read()?;
    let latest = cpus::tsc();
    for (vm, before) in vms.iter().zip(&before) {
        let now = Budget::of(&file, vm, 0)?;
        now.check_sum()?;
        ensure!(
            (earliest..=latest).contains(&now.until),
            "until {}, read between {earliest} and {latest}",
            now.until
        );
        let passed = now.until - before.until;
        let waited = now.all("userspace") - before.all("userspace");
        ensure!(waited == passed, "{waited} in userspace, {passed} passed");
        ensure!(now.guest == before.guest, "{} in the guest", now.guest);
    }
    let all: Vec<_> = vms.iter().collect();
    let total = oracle.check(&all)?;
    let (count, passed) = (
        vms.len(),
        before.iter().map(|b| b.until - b.since).sum::<u64>(),
    );
    drop(vms);
    let ended = Budget::of_ended(&ProfileFile::read()?)?;
    ended.check_sum()?;
    ensure!(ended.until > passed, "{} of ended vCPUs", ended.until);
    Ok(format!(
        "{count} vCPUs, {total} exits, {passed} cycles, of which {} in guests",
        before.iter().map(|b| b.guest).sum::<u64>()
    ))
}

/// A VMM that takes its time between two KVM_RUNs.
fn userspace(host: &mut Host) -> Result<String> {
    const EXITS: u32 = 20;
    const WAIT: u64 = 1_000_000;
    host.reload("log=N phases=Y")?;
    let mut vm = Vm::plain()?;
    let before = budget(&vm)?;
    let trips = |vm: &Vm| {
        let file = ProfileFile::read()?;
        let mut lines = file.of_vcpu("vcpu_userspace", vm, 0);
        let of_io = IO.number().to_string();
        let io = lines.find(|line| {
            line.text("reason").ok() == Some(&of_io) && line.text("exit_name").ok() == Some("IO")
        });
        // A trip counts when it ends.
        let number = |key| io.map_or(Ok(0), |io| io.number(key));
        anyhow::Ok((number("trips")?, number("cycles")?))
    };
    let first = trips(&vm)?;
    for _ in 0..EXITS {
        let start = cpus::tsc();
        while cpus::tsc() - start < WAIT {
            std::hint::spin_loop();
        }
        // It ends with an OUT to userspace.
        vm.hypercalls(1)?;
    }
    let after = budget(&vm)?;
    let least = u64::from(EXITS) * WAIT;
    let got = check_wait(&before, &after, "userspace", least)?;
    let of_io = after.after(IO.number(), "userspace") - before.after(IO.number(), "userspace");
    ensure!(of_io == got, "{got} in userspace, {of_io} after I/O");
    let last = trips(&vm)?;
    let (count, cycles) = (last.0 - first.0, last.1 - first.1);
    ensure!(count == u64::from(EXITS), "{count} trips, want {EXITS}");
    // The first one had begun, and the last one has not ended.
    let most = after.all("userspace");
    ensure!(
        (least..=most).contains(&cycles),
        "{cycles} cycles of trips, {most} in userspace"
    );
    Ok(format!("waited {least}, {got} in userspace, {count} trips"))
}

/// Whether a thread sleeps in KVM because its vCPU has halted.
fn is_halted(tid: libc::pid_t) -> bool {
    let file = |name| fs::read_to_string(format!("/proc/self/task/{tid}/{name}"));
    let stack = file("stack").unwrap_or_default();
    let status = file("status").unwrap_or_default();
    stack.contains("kvm_vcpu_block") && status.contains("State:\tS")
}

/// Halts a vCPU, and kicks it when it has slept for `time`. Returns how long that was.
fn halt(vm: &mut Vm, time: Duration) -> Result<u64> {
    let tid = AtomicI32::new(0);
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            tid.store(threads::id(), Relaxed);
            vm.vcpus[0].halt_until_kicked()
        });
        let waited = (|| {
            while !is_halted(tid.load(Relaxed)) {
                ensure!(!guest.is_finished(), "the guest did not halt");
                watchdog::check()?;
                thread::sleep(Duration::from_millis(1));
            }
            let start = cpus::tsc();
            thread::sleep(time);
            Ok(cpus::tsc() - start)
        })();
        // Also ends the guest after an error.
        while !guest.is_finished() {
            threads::kick(tid.load(Relaxed));
            thread::sleep(Duration::from_millis(5));
        }
        guest.join().ok().context("the guest panicked")??;
        waited
    })
}

fn with_irqchip() -> Result<Vm> {
    Vm::new(&Config {
        irqchip: true,
        ..Config::default()
    })
}

/// KVM's limit for polling before a halted vCPU's task sleeps, until this is dropped.
struct HaltPoll(String);

impl HaltPoll {
    const FILE: &'static str = "/sys/module/kvm/parameters/halt_poll_ns";

    fn set(ns: u32) -> Result<Self> {
        let old = fs::read_to_string(Self::FILE)?;
        fs::write(Self::FILE, ns.to_string())?;
        Ok(Self(old))
    }
}

impl Drop for HaltPoll {
    fn drop(&mut self) {
        let _ = fs::write(Self::FILE, self.0.trim());
    }
}

/// A vCPU that has halted, and whose task sleeps.
fn halted(host: &mut Host) -> Result<String> {
    let _poll = HaltPoll::set(0)?;
    host.reload("log=N phases=Y")?;
    let mut vm = with_irqchip()?;
    let before = budget(&vm)?;
    let least = halt(&mut vm, Duration::from_millis(100))?;
    let after = budget(&vm)?;
    let got = check_wait(&before, &after, "halted", least)?;
    let of_hlt = after.after(HLT.number(), "halted") - before.after(HLT.number(), "halted");
    ensure!(of_hlt == got, "{got} halted, {of_hlt} after HLT");
    Ok(format!(
        "slept {least}, {got} halted, {} polling",
        after.all("polling")
    ))
}

/// A halted vCPU whose task polls first, and sleeps then: the polling is what KVM says.
fn polling(host: &mut Host) -> Result<String> {
    // KVM polls longer after each halt that was shorter than this.
    const LIMIT_NS: u32 = 100_000_000;
    let _poll = HaltPoll::set(LIMIT_NS)?;
    host.reload("log=N phases=Y")?;
    let mut vm = with_irqchip()?;
    let khz = u64::from(vm.vcpus[0].tsc_khz()?);
    let ticks = |ns: u64| ns * khz / 1_000_000;
    let stats = [
        vm.vcpus[0].stat("halt_poll_success_ns")?,
        vm.vcpus[0].stat("halt_poll_fail_ns")?,
    ];
    let of_kvm = || anyhow::Ok(ticks(stats[0].read()? + stats[1].read()?));
    let before = budget(&vm)?;
    let mut halts = 0;
    while of_kvm()? < ticks(LIMIT_NS.into()) {
        ensure!(halts < 200, "KVM polled for {} only", of_kvm()?);
        watchdog::check()?;
        halt(&mut vm, Duration::ZERO)?;
        halts += 1;
    }
    let (after, of_kvm) = (budget(&vm)?, of_kvm()?);
    let grown = |phase| after.all(phase) - before.all(phase);
    let (polled, slept) = (grown("polling"), grown("halted"));
    // KVM's clock is not the TSC, and its polling begins a little later, and ends earlier.
    ensure!(
        polled >= of_kvm / 10 * 9 && polled <= of_kvm * 2,
        "{polled} polling, {of_kvm} by KVM"
    );
    ensure!(slept > 0, "no halt slept");
    Ok(format!(
        "{halts} halts, {polled} polling, {of_kvm} by KVM, {slept} halted"
    ))
}

/// A vCPU's thread that a thread with a real-time priority keeps off its CPU.
fn preempted(host: &mut Host) -> Result<String> {
    host.reload("log=N phases=Y")?;
    let mut vm = Vm::plain()?;
    let mut tries = Vec::new();
    for _ in 0..10 {
        let before = budget(&vm)?;
        // A run takes longer than the vCPU is left alone, so that it is rarely between two.
        let waited = sleep::kept_off(Duration::from_millis(50), || vm.hypercalls(10_000))?;
        let after = budget(&vm)?;
        let grown = after.all("preempted") - before.all("preempted");
        let user = after.all("userspace") - before.all("userspace");
        ensure!(
            grown + user >= waited,
            "{grown} preempted, {user} in userspace, waited {waited}"
        );
        // Or the thread was between two KVM_RUNs when it lost its CPU.
        if grown >= waited {
            return Ok(format!("kept off for {waited}, {grown} preempted"));
        }
        tries.push((waited, grown, user));
    }
    bail!("never preempted for as long as it was kept off, preempted, in userspace: {tries:?}")
}

/// A handler that sleeps.
fn sleeping(host: &mut Host) -> Result<String> {
    host.reload("log=N phases=Y")?;
    let mut guest = sleep::guest()?;
    let before = budget(&guest.0)?;
    let mut waited = 0;
    sleep::asleep(&mut guest, || {
        let start = cpus::tsc();
        thread::sleep(Duration::from_millis(100));
        waited = cpus::tsc() - start;
        Ok(())
    })?;
    let after = budget(&guest.0)?;
    let got = check_wait(&before, &after, "sleeping", waited)?;
    let of_io = after.after(IO.number(), "sleeping") - before.after(IO.number(), "sleeping");
    ensure!(
        of_io >= waited,
        "{got} sleeping, {of_io} in I/O, waited {waited}"
    );
    Ok(format!("slept {waited}, {got} sleeping"))
}

/// A guest reads the phases of its scope, and they add up in its snapshot.
fn of_guest(host: &mut Host) -> Result<String> {
    let mut notes = Vec::new();
    for scope in ["vcpu", "vm", "host"] {
        host.reload(&format!("log=N phases=Y scope={scope}"))?;
        let mut vm = Vm::plain()?;
        let mut program = Program::new();
        program.cpuid(leaf::SNAPSHOT, 1);
        for phase in 0..=8 {
            program.cpuid(leaf::of_snapshot(leaf::PHASE), phase);
        }
        program.cpuid(leaf::of_snapshot(leaf::PHASE), 9);
        program.repeat(Op::Vmcall, 1000, 0);
        for phase in 0..=8 {
            program.cpuid(leaf::PHASE, phase);
        }
        let answers = vm.run(&program)?;
        ensure!(
            answers[10] == leaf::UNDEFINED,
            "phase 9: {:x?}",
            answers[10]
        );
        let cycles = |answers: &[[u32; 4]]| -> Result<Vec<u64>> {
            answers.iter().map(|answer| leaf::cycles(*answer)).collect()
        };
        let (held, live) = (cycles(&answers[1..10])?, cycles(&answers[11..])?);
        ensure!(
            held.iter().zip(&live).all(|(held, live)| held <= live),
            "{held:?}, then {live:?}"
        );
        // The guest and the handlers took time meanwhile.
        ensure!(
            held[0] < live[0] && held[2] < live[2],
            "{held:?}, then {live:?}"
        );
        let budget = budget(&vm)?;
        if scope != "host" {
            ensure!(
                live[0] <= budget.guest,
                "{} in the guest, {budget:?}",
                live[0]
            );
            for (phase, live) in PHASES.into_iter().zip(&live[1..]) {
                ensure!(*live <= budget.all(phase), "{phase}: {live}, {budget:?}");
            }
        }
        let protocol = vm.cpuid(leaf::PROTOCOL, 0)?;
        ensure!(protocol[1] & 0xff == 3, "features {:#x}", protocol[1]);
        notes.push(format!("{scope}: {} in the guest", live[0]));
    }
    Ok(notes.join(", "))
}

/// Phases are off by default, cannot be switched on without counters of vCPUs, and stay
/// readable when they are switched off.
fn off(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let answer = vm.cpuid(leaf::PHASE, 0)?;
    ensure!(answer == leaf::UNDEFINED, "leaf 06 answers {answer:x?}");
    let clocks = |file: &ProfileFile| file.of("vcpu_clock").count();
    ensure!(clocks(&ProfileFile::read()?) == 0, "there are clocks");
    module::set_param(PROFILER, "phases", "Y")?;
    vm.hypercalls(1000)?;
    module::set_param(PROFILER, "phases", "N")?;
    let frozen = budget(&vm)?;
    vm.hypercalls(1000)?;
    let after = budget(&vm)?;
    ensure!(frozen.spent == after.spent, "{frozen:?}, then {after:?}");
    module::set_param(PROFILER, "phases", "Y")?;
    vm.hypercalls(1000)?;
    let again = budget(&vm)?;
    let (last, now) = (after.until - after.since, again.until - again.since);
    ensure!(last < now, "{last}, then {now}");
    ensure!(
        host.reload("per_vcpu=N phases=Y").is_err(),
        "loaded with per_vcpu=N"
    );
    host.reload("per_vcpu=N")?;
    let refused = module::set_param(PROFILER, "phases", "Y");
    ensure!(refused.is_err(), "switched on with per_vcpu=N");
    Ok(format!("{last} cycles, then {now}"))
}

/// While guests exit as fast as they can, phases are switched on and off: no exit is lost,
/// no phase is negative, and all of them add up.
fn under_load(host: &mut Host) -> Result<String> {
    const TIMES: usize = 60;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut busy = [Vm::plain()?, with_irqchip()?];
    // Pauses begin and end while hooks are switched, too.
    let programs = [Op::Vmcall, Op::Out].map(|op| Program::repeated(op, 500, 0));
    let pairs = busy.iter_mut().zip(&programs);
    let works = pairs.map(|(vm, program)| move || vm.run(program).map(drop));
    threads::beside(works, || {
        for time in 0..TIMES {
            watchdog::check()?;
            module::set_param(PROFILER, "phases", if time % 2 == 0 { "Y" } else { "N" })?;
            thread::sleep(Duration::from_millis(time as u64 % 7));
            ProfileFile::read()?;
        }
        module::set_param(PROFILER, "phases", "Y")?;
        thread::sleep(Duration::from_millis(20));
        Ok(())
    })?;
    let total = oracle.check(&busy.each_ref())?;
    let now = cpus::tsc();
    let mut passed = 0;
    for vm in &busy {
        let budget = budget(vm)?;
        ensure!(budget.until <= now + (1 << 40), "{budget:?}");
        passed += budget.until - budget.since;
    }
    Ok(format!("{total} exits, phases of {passed} cycles add up"))
}
