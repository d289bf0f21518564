// SPDX-License-Identifier: GPL-2.0
//! exitprof counts by BPF what the module counts, at the same time.

use super::count;
use super::nested::{entries, setup::without_shortcuts};
use crate::harness::{Test, threads};
use crate::host::counting::{self, Counting, Tally};
use crate::host::debugfs::{Line, ProfileFile};
use crate::host::{Host, State, Tracepoint, cpus};
use crate::oracle::details::Details;
use crate::oracle::phases::{Budget, PHASES};
use crate::oracle::{catalog, leaf};
use crate::vmm::cpu::{self, HLT, HYPERCALL};
use crate::vmm::{End, Op, Program, Vcpu, Vm};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

const BPF: [&str; 2] = ["--source", "bpf"];

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("bpf.unpatched", State::Unpatched, unpatched),
        Test::new("bpf.refusals", State::Nothing, refusals),
        Test::new("bpf.every_reason", State::Profiled, every_reason),
        Test::new("bpf.moving_vcpus", State::Profiled, moving_vcpus),
        Test::new("bpf.ended", State::Profiled, ended),
        Test::new("bpf.ended_elsewhere", State::Profiled, ended_elsewhere),
        Test::new("bpf.many_threads", State::Profiled, many_threads),
        Test::new("bpf.hidden_reason", State::Profiled, hidden_reason),
        Test::new("bpf.failed_entries", State::Profiled, failed_entries),
        Test::new("bpf.details", State::Profiled, details),
        Test::new("bpf.times", State::Profiled, times),
    ]
}

/// The exits by reason.
fn exits(tallies: &BTreeMap<String, Tally>) -> BTreeMap<String, u64> {
    let exits = |(reason, tally): (&String, &Tally)| (reason.clone(), tally.0);
    tallies.iter().map(exits).collect()
}

/// Those of the module's vCPU, or of all guests.
fn of_module(file: &ProfileFile, vcpu: Option<(&Vm, u32)>) -> Result<BTreeMap<String, u64>> {
    let Some((vm, id)) = vcpu else {
        return Ok(exits(&file.by_reason(&["host"])?));
    };
    let lines = file.of_vcpu("vcpu", vm, id);
    let exits = |line: &Line| Ok((line.text("reason")?.to_owned(), line.number("exits")?));
    lines.map(exits).collect()
}

/// What was added since `before`.
fn since(now: BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let added = |(reason, exits): (String, u64)| {
        let before = before.get(&reason).copied().unwrap_or(0);
        Some((reason, exits - before)).filter(|(_, exits)| *exits > 0)
    };
    now.into_iter().filter_map(added).collect()
}

/// Without the module, and with KVM as it is, exitprof counts by BPF without being told to: as
/// many exits as the kernel itself.
fn unpatched(_: &mut Host) -> Result<String> {
    let counting = Counting::start(&[])?;
    let tracepoint = Tracepoint::all()?;
    // One thread runs both vCPUs, by turns.
    let mut vm = Vm::with_vcpus(2)?;
    vm.hypercalls(1000)?;
    vm.vcpus[1].hypercalls(23)?;
    vm.hypercalls(9)?;
    vm.run(&Program::repeated(Op::Cpuid, 10007, leaf::TOTAL_EXITS))?;
    let want = tracepoint.read()?;
    drop(tracepoint);
    let recording = counting.finish()?;
    recording.check_histograms(1)?;
    let got: u64 = exits(&recording.of("all")?).values().sum();
    ensure!(got == want, "want {want} got {got}");
    let mut sum = 0;
    for (id, want) in [(0, 1009), (1, 23)] {
        let vcpu = exits(&recording.of_vcpu(&vm.name(), id)?);
        let hypercalls = vcpu.get(&HYPERCALL.number().to_string());
        ensure!(
            hypercalls == Some(&want),
            "vCPU {id}: {hypercalls:?} hypercalls, want {want}"
        );
        sum += vcpu.values().sum::<u64>();
    }
    ensure!(sum == got, "{sum} of vCPUs, {got} in all");
    Ok(format!("want {want} got {got}"))
}

/// Who cannot count by BPF is told why.
fn refusals(host: &mut Host) -> Result<String> {
    counting::need_bpf()?;
    let report = ["report", "--for", "1", "--source", "bpf"];
    let says = |said: &str, want: &str| {
        ensure!(said.contains(want), "exitprof says {said}");
        Ok(())
    };
    says(&counting::refusal(&report, |_| ())?, "KVM is not loaded")?;
    host.reach(State::Unpatched)?;
    let other_user = |command: &mut Command| {
        command.uid(65534).gid(65534);
    };
    says(&counting::refusal(&report, other_user)?, "only root may")?;
    let so_far = ["report", "--source", "bpf"];
    says(&counting::refusal(&so_far, |_| ())?, "--for 10")?;
    Ok("KVM not loaded, no root, no period".into())
}

/// The catalog of workloads: each reason has as many exits as in the module.
fn every_reason(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let counting = Counting::start(&BPF)?;
    let vms = catalog::run_all()?;
    let recording = counting.finish()?;
    let module = of_module(&ProfileFile::read()?, None)?;
    let bpf = exits(&recording.of("all")?);
    ensure!(bpf == module, "by BPF {bpf:?}, in the module {module:?}");
    recording.check_histograms(1)?;
    let sum: u64 = bpf.values().sum();
    let (reasons, vms) = (bpf.len(), vms.len());
    Ok(format!(
        "{reasons} reasons of {vms} workloads, {sum} exits in both"
    ))
}

/// vCPUs that enter their guest on another CPU than the last exit was on: each has as many exits
/// of each reason as in the module, and all have a time.
fn moving_vcpus(host: &mut Host) -> Result<String> {
    const TIMES: usize = 100;
    cpus::second()?;
    let cpus = cpus::usable()?;
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(2)?;
    let before = ProfileFile::read()?;
    let counting = Counting::start(&BPF)?;
    let [done, read] = [Barrier::new(3), Barrier::new(3)];
    let move_about = |vcpu: &mut Vcpu, times: u32| {
        let program = Program::repeated(Op::Vmcall, 23 * times, 0);
        for i in 0..TIMES {
            cpus::pin(threads::id(), &[cpus[i % cpus.len()]])?;
            vcpu.run(&program)?;
        }
        anyhow::Ok(())
    };
    let recording = thread::scope(|scope| {
        let start = |(vcpu, times)| {
            let (done, read, move_about) = (&done, &read, &move_about);
            scope.spawn(move || {
                let moved = move_about(vcpu, times);
                done.wait();
                // A vCPU ends with its thread.
                read.wait();
                moved
            })
        };
        let moving: Vec<_> = vm.vcpus.iter_mut().zip(1..).map(start).collect();
        done.wait();
        let recording = counting.finish();
        read.wait();
        for moved in moving {
            moved.join().ok().context("a vCPU's thread panicked")??;
        }
        recording
    })?;
    let file = ProfileFile::read()?;
    let mut notes = Vec::new();
    for id in 0..2 {
        let before = of_module(&before, Some((&vm, id)))?;
        let module = since(of_module(&file, Some((&vm, id)))?, &before);
        let tallies = recording.of_vcpu(&vm.name(), id)?;
        let bpf = exits(&tallies);
        ensure!(
            bpf == module,
            "vCPU {id}: by BPF {bpf:?}, in the module {module:?}"
        );
        let untimed: u64 = tallies.values().map(|tally| tally.2).sum();
        ensure!(untimed == 0, "vCPU {id}: {untimed} untimed: {tallies:?}");
        notes.push(bpf.values().sum::<u64>().to_string());
    }
    recording.check_histograms(2)?;
    let none = recording.of("unattributed")?;
    ensure!(none.is_empty(), "unattributed: {none:?}");
    Ok(format!("{} exits in both", notes.join(" and ")))
}

/// What a vCPU has counted stays when its thread ends.
fn ended(host: &mut Host) -> Result<String> {
    end_threads(host, 1, 20, || Counting::start(&BPF))
}

/// The program sees that by itself, if exitprof cannot see these threads.
fn ended_elsewhere(host: &mut Host) -> Result<String> {
    end_threads(host, 1, 20, || Counting::start_in_namespace(&BPF))
}

/// More threads end than there are places, and nobody reads meanwhile.
fn many_threads(host: &mut Host) -> Result<String> {
    end_threads(host, 6, 100, || Counting::start(&BPF))
}

/// Lets a vCPU run in threads, one after the other, and waits a little after so many `times`.
fn end_threads(
    host: &mut Host,
    rounds: u32,
    times: u32,
    start: impl FnOnce() -> Result<Counting>,
) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let before = of_module(&ProfileFile::read()?, Some((&vm, 0)))?;
    let counting = start()?;
    for _ in 0..rounds {
        for _ in 0..times {
            threads::to_its_end(|| vm.hypercalls(5))?;
        }
        thread::sleep(Duration::from_secs(2));
    }
    let times = rounds * times;
    let recording = counting.finish()?;
    let module = of_module(&ProfileFile::read()?, Some((&vm, 0)))?;
    let module = since(module, &before);
    let (all, ended) = (recording.of("all")?, recording.of("ended")?);
    ensure!(all == ended, "of all {all:?}, ended {ended:?}");
    ensure!(
        exits(&ended) == module,
        "by BPF {ended:?}, in the module {module:?}"
    );
    // After the last exit of each thread there was no entry.
    let untimed: u64 = ended.values().map(|tally| tally.2).sum();
    ensure!(untimed == u64::from(times), "{untimed} untimed: {ended:?}");
    recording.check_histograms(0)?;
    let sum: u64 = module.values().sum();
    Ok(format!("{sum} exits of {times} threads in both"))
}

/// The exits that KVM makes up, to emulate, are not seen; those for which the CPU refuses the
/// guest's state are, by their basic reason.
fn hidden_reason(host: &mut Host) -> Result<String> {
    const TIMES: u64 = 23;
    const EMULATE: &str = "unrestricted_guest=0";
    const REFUSE: &str = "unrestricted_guest=0 emulate_invalid_guest_state=0";
    count::only_vmx()?;
    counting::need_bpf()?;
    let mut notes = Vec::new();
    for (params, are_seen) in [(EMULATE, false), (REFUSE, true)] {
        host.reload_vendor(true, params)?;
        let of_33 = |all: &BTreeMap<String, u64>| all.get("33").copied().unwrap_or(0);
        let before = of_33(&of_module(&ProfileFile::read()?, None)?);
        let counting = Counting::start(&BPF)?;
        let mut vm = Vm::plain()?;
        for _ in 0..TIMES {
            vm.vcpus[0].spoil_fs()?;
            if are_seen {
                let (end, _) = vm.vcpus[0].run_to_end(&Program::new())?;
                ensure!(end == End::Refused, "the guest's run ended with {end:?}");
            } else {
                vm.run(&Program::repeated(Op::MendFs, 1, 0))?;
            }
        }
        let bpf = of_33(&exits(&counting.finish()?.of("all")?));
        let module = of_33(&of_module(&ProfileFile::read()?, None)?) - before;
        let want = if are_seen { module } else { 0 };
        let text = format!("by BPF {bpf} of {module} with {params}");
        ensure!(bpf == want && module >= TIMES, "{text}, want {want}");
        notes.push(text);
    }
    Ok(notes.join("; "))
}

/// Entries that fail as an instruction are no exits for it. It says that there were some.
fn failed_entries(host: &mut Host) -> Result<String> {
    const OTHER: &str = "other";
    without_shortcuts(host)?;
    let before = of_module(&ProfileFile::read()?, None)?;
    let counting = Counting::start(&BPF)?;
    let (_vms, untraced) = entries::fail()?;
    let bpf = exits(&counting.finish_but(untraced)?.of("all")?);
    let mut module = since(of_module(&ProfileFile::read()?, None)?, &before);
    let other = module.entry(OTHER.into()).or_default();
    *other = (other.checked_sub(untraced)).context("the module has not seen them either")?;
    module.retain(|_, exits| *exits > 0);
    ensure!(
        bpf == module,
        "by BPF {bpf:?}, in the module {module:?} and {untraced} that failed"
    );
    Ok(format!("{untraced} fewer than in the module"))
}

/// The details that kvm_exit has are those that the module counts.
fn details(host: &mut Host) -> Result<String> {
    const KINDS: [&str; 6] = ["io", "cr", "dr", "exception", "interrupt", "page_fault"];
    // On VMX, kvm_exit has no guest-physical address.
    let kinds = &KINDS[..if cpu::is_vmx() { 5 } else { 6 }];
    host.reload("log=N details=all")?;
    let mut vm = Vm::plain()?;
    let before = Details::of(&ProfileFile::read()?, &vm, 0)?;
    let counting = Counting::start(&BPF)?;
    let mut program = Program::new();
    for op in [
        Op::Out,
        Op::In,
        Op::Outl,
        Op::Inl,
        Op::Outsw,
        Op::Insl,
        Op::Ud2,
    ] {
        program.repeat(op, 23, 0);
    }
    vm.run(&program)?;
    vm.run(&catalog::find("cr0_am").program())?;
    vm.run(&catalog::find("ept_violation").program())?;
    let recording = counting.finish()?;
    let all = Details::of(&ProfileFile::read()?, &vm, 0)?;
    let mut notes = Vec::new();
    for kind in kinds {
        let mut bpf = recording.keys(&vm.name(), 0, kind)?;
        let before = before.keys(kind);
        let mut module = all.keys(kind);
        module.retain(|key, exits| {
            *exits -= before.get(key).copied().unwrap_or(0);
            *exits > 0
        });
        if all.has_lost(kind) {
            // Pages may be too many for the module's table.
            bpf.retain(|key, _| module.contains_key(key));
            ensure!(*kind == "page_fault" && !bpf.is_empty(), "{kind} is lost");
        }
        // On SVM, neither has control registers and the like.
        ensure!(
            bpf == module,
            "{kind}: by BPF {bpf:x?}, in the module {module:x?}"
        );
        notes.push(format!("{kind} {}", bpf.len()));
    }
    ensure!(!notes.contains(&"io 0".into()), "{notes:?}");
    Ok(format!("keys in both: {}", notes.join(", ")))
}

/// Times are from exit to entry: about what the module's phases have but the guest's. On VMX they
/// are longer, because both tracepoints are nearer to the guest than the module's stamps. On SVM,
/// kvm_exit is in the handler, so they are shorter.
fn times(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 1009;
    /// In Bochs, where a cycle is an instruction. QEMU's take as long as they take.
    const MOST: u64 = 1000;
    host.reload("log=N phases=Y")?;
    let mut vm = Vm::plain()?;
    let counting = Counting::start(&BPF)?;
    let mut program = Program::new();
    // One is handled by KVM, the other by the VMM.
    program.repeat(Op::Vmcall, TIMES, 0);
    program.repeat(Op::Hlt, TIMES, 0);
    vm.run(&program)?;
    let recording = counting.finish()?;
    let budget = Budget::of(&ProfileFile::read()?, &vm, 0)?;
    let khz = u64::from(vm.vcpus[0].tsc_khz()?);
    let tallies = recording.of_vcpu(&vm.name(), 0)?;
    let mut notes = Vec::new();
    for reason in [HYPERCALL, HLT] {
        let reason = reason.number();
        let &(exits, ns, untimed) = tallies.get(&reason.to_string()).context("no exits")?;
        ensure!((exits, untimed) == (u64::from(TIMES), 0), "{tallies:?}");
        let module: u64 = PHASES.iter().map(|phase| budget.after(reason, phase)).sum();
        let [bpf, module] = [ns * khz / 1_000_000, module].map(|cycles| cycles / exits);
        let text = format!("reason {reason}: {bpf} by BPF, {module} in phases");
        // What is before kvm_exit on SVM.
        let before = budget.after(reason, "exit_path") / exits;
        let is_close = match cpu::is_vmx() {
            true => bpf.abs_diff(module) <= MOST,
            false => ((module - before) / 4..=2 * module).contains(&bpf),
        };
        ensure!(is_close, "{text}, of which {before} before the handler");
        notes.push(text);
    }
    Ok(format!("cycles each: {}", notes.join("; ")))
}
