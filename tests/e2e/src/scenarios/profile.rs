// SPDX-License-Identifier: GPL-2.0
//! The file `profile`, which is for programs: counts, histograms, the module's own
//! account.

use crate::harness::Test;
use crate::host::debugfs::{ExitsTable, Line, ProfileFile};
use crate::host::module::{self, PROFILER};
use crate::host::{Host, Kmsg, State, cpus};
use crate::oracle::catalog::{CATALOG, find, run_all};
use crate::oracle::log::query_line;
use crate::oracle::{Workload, check_histogram, check_histograms, leaf};
use crate::vmm::cpu::{self, HYPERCALL, MSR_WRITE};
use crate::vmm::{Config, Op, Program, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::thread::sleep;
use std::time::Duration;

pub fn tests() -> Vec<Test<Host>> {
    let absent = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("profile.{name}"), State::Absent, run)
    };
    vec![
        absent("adds_up", adds_up),
        absent("histograms", histograms),
        absent("without_histograms", without_histograms),
        absent("without_vcpus", without_vcpus),
        absent("untimed", untimed),
        absent("reentries", reentries),
        absent("account", account),
    ]
}

/// The file has what the tables have, and its first line is true.
fn adds_up(host: &mut Host) -> Result<String> {
    let early = Duration::from_secs(1);
    sleep(early);
    host.reload("log=N")?;
    let mut ended = Vm::with_vcpus(2)?;
    ended.vcpus[1].hypercalls(23)?;
    drop(ended);
    let mut vms = run_all()?;
    vms.push(Vm::with_vcpus(3)?);

    let file = ProfileFile::read()?;
    file.check_sums()?;
    let exits = ExitsTable::of_host()?;
    let (rows, total) = (file.of("host").count(), file.total("host")?);
    ensure!(
        rows == exits.rows.len() && total == exits.total,
        "{exits:?}"
    );
    for line in file.of("host") {
        let (reason, name) = (line.text("reason")?, line.text("name")?);
        let row = match reason.parse() {
            Ok(number) => exits.exits(number),
            Err(_) => exits.rows[reason].0,
        };
        ensure!(row == line.number("exits")?, "{line:?}, table {row}");
        ensure!(!name.is_empty(), "{line:?}");
    }
    for vm in &vms {
        for vcpu in &vm.vcpus {
            let attached = file.of_vcpu("attached", vm, vcpu.id()).count();
            ensure!(attached == 1, "{}: {attached} lines", vm.name());
            let rows = file.of_vcpu("vcpu", vm, vcpu.id());
            let sum = rows.map(|line| line.number("exits")).sum::<Result<u64>>()?;
            let want = vcpu.exits()?;
            ensure!(sum == want, "want {want} got {sum}");
        }
    }

    let head = file.head();
    ensure!(head.text("isa")? == cpu::pick("vmx", "svm"), "{head:?}");
    let [_, _, epoch, tsc_khz] = vms[0].cpuid(leaf::PROTOCOL, 0)?;
    ensure!(
        head.number("epoch")? == u64::from(epoch) && epoch != 0,
        "{head:?}"
    );
    ensure!(head.number("tsc_khz")? == u64::from(tsc_khz), "{head:?}");
    ensure!(
        head.number("cpus")? == cpus::online()?.len() as u64,
        "{head:?}"
    );
    let (since, time) = (head.number("since_ns")?, head.number("time_ns")?);
    let booted = u128::from(since) > early.as_nanos();
    ensure!(booted && since < time, "{head:?}");
    for flag in ["recording", "per_vcpu", "histograms"] {
        ensure!(head.number(flag)? == 1, "{head:?}");
    }
    Ok(format!("{rows} reasons, {} exits", total.0))
}

/// The histogram of every reason allows its cycles. A single exit is minimum and
/// maximum.
fn histograms(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let own = |file: &ProfileFile| -> Result<Line> {
        let line = file.row("host", HYPERCALL.number());
        line.cloned().context("no line")
    };
    vm.hypercalls(1)?;
    let line = own(&ProfileFile::read()?)?;
    let (cycles, log2) = (line.number("cycles")?, line.log2()?);
    ensure!(
        cycles == line.number("min")? && cycles == line.number("max")?,
        "{line:?}"
    );
    ensure!(
        log2.len() == 1 && log2.get(&cycles.ilog2()) == Some(&1),
        "{line:?}"
    );

    let _vms = run_all()?;
    let file = ProfileFile::read()?;
    check_histograms(&file)?;
    // More exits do not raise the minimum, nor lower the maximum.
    let before = own(&file)?;
    vm.hypercalls(1009)?;
    let after = own(&ProfileFile::read()?)?;
    check_histogram(&after).with_context(|| format!("{after:?}"))?;
    ensure!(
        after.number("min")? <= before.number("min")?,
        "{before:?}, {after:?}"
    );
    ensure!(
        after.number("max")? >= before.number("max")?,
        "{before:?}, {after:?}"
    );
    Ok(format!(
        "{} reasons; hypercalls: {} to {} cycles",
        file.of("host").count(),
        after.number("min")?,
        after.number("max")?
    ))
}

fn without_histograms(host: &mut Host) -> Result<String> {
    host.reload("log=N histograms=N")?;
    let vms = run_all()?;
    let file = ProfileFile::read()?;
    file.check_sums()?;
    ensure!(file.head().number("histograms")? == 0, "{:?}", file.head());
    let lines = file
        .of("host")
        .filter(|line| line.has("log2") || line.has("min"));
    ensure!(lines.count() == 0, "{file:?}");
    let want = vms.iter().map(Vm::exits).sum::<Result<u64>>()?;
    let (got, _) = file.total("host")?;
    ensure!(got == want, "want {want} got {got}");
    Ok(format!("{got} exits, as by KVM"))
}

fn without_vcpus(host: &mut Host) -> Result<String> {
    host.reload("log=N per_vcpu=N")?;
    let _vms = run_all()?;
    let file = ProfileFile::read()?;
    file.check_sums()?;
    let lines = file
        .of("vcpu")
        .chain(file.of("attached"))
        .chain(file.of("ended"));
    ensure!(lines.count() == 0, "{file:?}");
    check_histograms(&file)?;
    Ok(format!(
        "{} exits, all unattributed",
        file.total("unattributed")?.0
    ))
}

/// Of each workload's exits, just those are untimed after which KVM's fast path re-enters the
/// guest.
fn reentries(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let (mut number, mut reentered) = (0, Vec::new());
    for workload in CATALOG.iter().filter(|workload| workload.runs()) {
        let want = workload.reentries()?.into();
        let got = untimed_of(workload, want).context(workload.name)?;
        ensure!(got == want, "{}: want {want} got {got}", workload.name);
        number += 1;
        if want > 0 {
            reentered.push(workload.name);
        }
    }
    Ok(format!(
        "of {number} workloads, those that re-enter: [{}]",
        reentered.join(", ")
    ))
}

/// How many of a workload's exits are untimed. An interrupt may make KVM leave the fast path,
/// so that a run which one has disturbed does not count against `want`.
fn untimed_of(workload: &Workload, want: u64) -> Result<u64> {
    let reason = workload.reason().context("no such exit here")?;
    for _ in 0..20 {
        let mut vm = workload.prepare()?;
        let interrupts = vm.vcpus[0].stat("irq_exits")?;
        let untimed = |vm: &Vm| {
            let file = ProfileFile::read()?;
            let mut rows = file.of_vcpu("vcpu", vm, 0);
            let row = rows.find(|row| row.text("reason").ok() == Some(&reason.to_string()));
            row.map_or(Ok(0), |row| row.number("untimed"))
        };
        let before = (untimed(&vm)?, interrupts.read()?);
        vm.run(&workload.program())?;
        let got = untimed(&vm)? - before.0;
        if got >= want || interrupts.read()? == before.1 {
            return Ok(got);
        }
    }
    bail!("interrupts disturbed every attempt")
}

/// Exits after which KVM re-enters the guest without handling them are counted as
/// untimed. One of 24 writes of MSRs is timed, and minimum, maximum and cycles are its
/// own. Where the fast path does not run, all are timed.
fn untimed(host: &mut Host) -> Result<String> {
    const TSC_DEADLINE: u32 = 0x6e0;
    const UCODE: u32 = 0x79;
    let reason = MSR_WRITE.number();
    let untimed = find("tsc_deadline").reentries()?.into();
    for _ in 0..20 {
        host.reload("log=N")?;
        let mut vm = Vm::new(&Config {
            irqchip: true,
            ..Config::default()
        })?;
        // A guest without such exits.
        let mut other = Vm::plain()?;
        other.hypercalls(23)?;
        let mut program = Program::new();
        program.repeat(Op::WrmsrZero, 23, TSC_DEADLINE);
        program.repeat(Op::WrmsrZero, 1, UCODE);
        let before = vm.exits()?;
        vm.run(&program)?;
        if vm.exits()? != before + 25 {
            continue; // an interrupt among them, for which KVM may leave the fast path
        }
        let file = ProfileFile::read()?;
        file.check_sums()?;
        let line = file.row("host", reason).context("no line")?;
        check_histogram(line).with_context(|| format!("{line:?}"))?;
        let want = (24, untimed);
        let told = (line.number("exits")?, line.number("untimed")?);
        ensure!(told == want, "want {want:?}: {line:?}");
        if untimed > 0 {
            let (cycles, min) = (line.number("cycles")?, line.number("min")?);
            let one = cycles == min && cycles == line.number("max")? && cycles > 0;
            ensure!(one, "not those of one exit: {line:?}");
        }
        let own = file.row("vcpu", reason).context("no line of the vCPU")?;
        let told = (own.number("exits")?, own.number("untimed")?);
        ensure!(told == want, "want {want:?}: {own:?}");
        ensure!(own.text("vm")? == vm.name(), "{own:?}");
        let all = file.by_reason(&["host"])?;
        let sum: u64 = all.values().map(|row| row.2).sum();
        ensure!(sum == untimed, "{sum} untimed in all: {all:?}");
        for scope in ["host", "vm", "vcpu"] {
            module::set_param(PROFILER, "scope", scope)?;
            let asked = [(leaf::EXITS, reason), (leaf::UNTIMED, reason)];
            let answers = vm.cpuids(&asked)?;
            let got = (leaf::exits(answers[0])?, leaf::exits(answers[1])?);
            ensure!(got == want, "scope={scope}: want {want:?} got {got:?}");
            let answers = other.cpuids(&asked)?;
            let got = (leaf::exits(answers[0])?, leaf::exits(answers[1])?);
            let want = if scope == "host" { want } else { (0, 0) };
            ensure!(got == want, "the other, {scope}: want {want:?} got {got:?}");
        }
        // When the VM has ended, they are in the row `ended`.
        drop(vm);
        drop(other);
        let file = ProfileFile::read()?;
        file.check_sums()?;
        let ended = file.row("ended", reason).context("no line of the ended")?;
        ensure!(ended.number("untimed")? == untimed, "{ended:?}");
        module::set_param(PROFILER, "reset", "1")?;
        let none = Vm::plain()?.cpuid(leaf::UNTIMED, reason)?;
        ensure!(none == [0; 4], "after a reset: {none:x?}");
        return Ok(format!("24 exits, {untimed} of them untimed"));
    }
    bail!("interrupts disturbed every attempt")
}

/// The module's own account: its memory, the cost of a sample, and suppressed log
/// lines.
fn account(host: &mut Host) -> Result<String> {
    host.reload("per_vcpu=N histograms=N")?;
    let bytes = || ProfileFile::read()?.account()?.number("memory_bytes");
    let least = bytes()?;
    host.reload("per_vcpu=N")?;
    let histograms = bytes()? - least;
    let cpus = cpus::possible()? as u64;
    // Two counters of 16 bytes and two numbers of untimed exits of 8, for the host and
    // for the unattributed. A histogram has minimum, maximum and 30 buckets of 8 bytes.
    // The totals of the guest and eight phases are 8 bytes each.
    let slots = (least / cpus - 72) / 48;
    ensure!(
        least == (48 * slots + 72) * cpus,
        "{least} bytes for {cpus} CPUs"
    );
    ensure!(slots == cpu::isa().slots() as u64, "{slots} slots");
    ensure!(
        histograms == slots * 256 * cpus,
        "{histograms} bytes for {slots} histograms"
    );

    host.reload("")?;
    let before = bytes()?;
    let mut vm = Vm::with_vcpus(2)?;
    let profiles = bytes()? - before;
    // A counter and a number of untimed exits for each slot, and the vCPU's
    // description; and two counters for nested guests' exits.
    let own = 2 * ((24 * slots + 1).next_power_of_two() + (32 * slots).next_power_of_two());
    ensure!(profiles == own, "{profiles} bytes for 2 vCPUs, want {own}");
    let more = Vm::with_vcpus(3)?;
    let (got, want) = (bytes()? - before, own / 2 * 5);
    ensure!(got == want, "{got} bytes for 5 vCPUs, want {want}");
    drop(more);
    let left = bytes()? - before;
    ensure!(left == own, "{left} bytes when 3 have ended, want {own}");

    let file = ProfileFile::read()?;
    let account = file.account()?;
    let sample = account.number("sample_cycles")?;
    let record = account.number("record_cycles")?;
    // Recording an exit includes its sample.
    ensure!(record > sample, "{account:?}");

    ensure!(account.number("suppressed")? == 0, "{account:?}");
    let mut log = Kmsg::from_now()?;
    vm.run(&Program::repeated(Op::Cpuid, 1009, leaf::TOTAL_EXITS))?;
    module::set_param(PROFILER, "log", "N")?;
    let suppressed = ProfileFile::read()?.account()?.number("suppressed")?;
    host.unload_profiler()?;
    let lines = log.drain()?;
    let logged = lines.iter().filter_map(|line| query_line(line)).count() as u64;
    ensure!(
        logged + suppressed == 1009,
        "{logged} logged, {suppressed} suppressed"
    );
    host.forget();
    Ok(format!(
        "{least} + {histograms} + 2 · {} bytes; {sample} and {record} cycles; {logged} + {suppressed} lines",
        profiles / 2
    ))
}
