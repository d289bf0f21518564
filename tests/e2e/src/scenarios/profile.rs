// SPDX-License-Identifier: GPL-2.0
//! What the host's programs read and control: the file `profile`, histograms,
//! starting from zero.

use super::leaves::ask;
use super::scope::{RELEASE, TAKE, TELL, command, none_held, while_storming};
use super::test;
use crate::harness::runner::Test;
use crate::host::cpus;
use crate::host::debugfs::{PROFILER as DIR, Reasons};
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State};
use crate::host::text::{Line, Text};
use crate::oracle::leaf::{self, query};
use crate::oracle::workloads::WORKLOADS;
use crate::vmm::cpu::{self, HYPERCALL, MSR_WRITE};
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vcpu, Vm};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        test("profile.adds_up", State::Absent, adds_up),
        test("profile.histograms", State::Absent, histograms),
        test("profile.without_histograms", State::Absent, without),
        test("profile.without_vcpus", State::Absent, without_vcpus),
        test("profile.untimed", State::Absent, untimed),
        test("profile.account", State::Absent, account),
        test("control.reset", State::Absent, reset),
        test("control.reset_under_load", State::Absent, |host| {
            cpus::changing_code(|| reset_under_load(host))
        }),
        test("control.reset_voids_snapshots", State::Absent, voids),
        test("control.recording", State::Absent, recording),
        test("control.nonsense", State::Absent, nonsense),
    ]
}

/// Writes a parameter that does something at once.
fn control(name: &str, value: &str) -> std::io::Result<()> {
    fs::write(format!("{PARAMETERS}/{name}"), value)
}

const PARAMETERS: &str = "/sys/module/kvm_exitprof/parameters";

fn vmcalls(vcpu: &mut Vcpu, count: u32) -> Result<()> {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, count, 0);
    vcpu.run(&program).map(drop)
}

/// Runs all that the table of workloads has for the modules as they are loaded.
fn everything() -> Result<Vec<Vm>> {
    let workloads = WORKLOADS.iter().filter(|workload| workload.runs());
    let run = |workload: &crate::oracle::workload::Workload| {
        let mut vm = workload.prepare()?;
        vm.run(&workload.program())?;
        Ok(vm)
    };
    workloads.map(run).collect()
}

/// The file has what the tables have, and describes itself as things are.
fn adds_up(host: &mut Host) -> Result<String> {
    let early = Duration::from_secs(1);
    sleep(early);
    host.reload("log=N")?;
    let mut ended = Vm::with_vcpus(2)?;
    vmcalls(&mut ended.vcpus[1], 23)?;
    drop(ended);
    let mut vms = everything()?;
    vms.push(Vm::with_vcpus(3)?);

    let text = Text::read()?;
    text.add_up()?;
    let exits = Reasons::of_host()?;
    let (rows, total) = (text.of("host").count(), text.total("host")?);
    ensure!(
        rows == exits.rows.len() && total == exits.total,
        "{exits:?}"
    );
    for line in text.of("host") {
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
            let is_own = |line: &&Line| {
                let own = (line.text("vm").ok(), line.number("vcpu").ok());
                own == (Some(&vm.name()), Some(vcpu.id().into()))
            };
            let attached = text.of("attached").filter(is_own).count();
            ensure!(attached == 1, "{}: {attached} lines", vm.name());
            let mut sum = 0;
            for line in text.of("vcpu").filter(is_own) {
                sum += line.number("exits")?;
            }
            let want = vcpu.exits()?;
            ensure!(sum == want, "want {want} got {sum}");
        }
    }

    let head = text.head();
    let isa = if cpu::is_vmx() { "vmx" } else { "svm" };
    ensure!(head.text("isa")? == isa, "{head:?}");
    let [_, _, epoch, tsc_khz] = query(&mut vms[0], leaf::PROTOCOL, 0)?;
    ensure!(
        head.number("epoch")? == epoch.into() && epoch != 0,
        "{head:?}"
    );
    ensure!(head.number("tsc_khz")? == tsc_khz.into(), "{head:?}");
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

/// What a line's histogram, least and most say of each other, and of the sums: they
/// are of those exits that were timed.
pub(super) fn check_histogram(line: &Line) -> Result<()> {
    let (exits, cycles) = line.sample()?;
    let timed = exits - line.number("untimed")?;
    let (min, max) = (line.number("min")?, line.number("max")?);
    let log2 = line.log2()?;
    ensure!(log2.values().sum::<u64>() == timed, "not {timed} exits");
    if timed == 0 {
        let none = (cycles, min, max) == (0, u64::MAX, 0);
        ensure!(none, "{cycles} cycles of none, {min} to {max}");
        return Ok(());
    }
    // All but the least and the most are somewhere between.
    let (least, most) = (min * (timed - 1) + max, max * (timed - 1) + min);
    ensure!(
        (least..=most).contains(&cycles),
        "{cycles} cycles are not so many"
    );
    let power = |bucket: u32| 1_u64 << bucket;
    let (mut low, mut high) = (0, 0);
    for (&bucket, &exits) in &log2 {
        ensure!(exits > 0, "an empty bucket");
        low += if bucket == 0 {
            0
        } else {
            power(bucket) * exits
        };
        high += (power(bucket + 1) - 1) * exits;
    }
    ensure!(
        (low..=high).contains(&cycles),
        "{cycles} cycles, {low} to {high} by bucket"
    );
    for (extreme, bucket) in [(min, log2.keys().next()), (max, log2.keys().next_back())] {
        let bucket = *bucket.context("no bucket")?;
        let first = if bucket == 0 { 0 } else { power(bucket) };
        let own = first..power(bucket + 1);
        ensure!(
            own.contains(&extreme),
            "{extreme} is not in bucket {bucket}"
        );
    }
    Ok(())
}

/// For every reason there is; and a single exit is the least, the most, and all.
fn histograms(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let own = |text: &Text| -> Result<Line> {
        let line = text.row("host", HYPERCALL.number());
        line.cloned().context("no line")
    };
    vmcalls(&mut vm.vcpus[0], 1)?;
    let line = own(&Text::read()?)?;
    let (cycles, log2) = (line.number("cycles")?, line.log2()?);
    ensure!(
        cycles == line.number("min")? && cycles == line.number("max")?,
        "{line:?}"
    );
    ensure!(
        log2.len() == 1 && log2.get(&cycles.ilog2()) == Some(&1),
        "{line:?}"
    );

    let _vms = everything()?;
    let text = Text::read()?;
    for line in text.of("host") {
        check_histogram(line).with_context(|| format!("{line:?}"))?;
    }
    // More exits make neither the least more, nor the most less.
    let before = own(&text)?;
    vmcalls(&mut vm.vcpus[0], 1009)?;
    let after = own(&Text::read()?)?;
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
        text.of("host").count(),
        after.number("min")?,
        after.number("max")?
    ))
}

fn without(host: &mut Host) -> Result<String> {
    host.reload("log=N histograms=N")?;
    let vms = everything()?;
    let text = Text::read()?;
    text.add_up()?;
    ensure!(text.head().number("histograms")? == 0, "{:?}", text.head());
    let lines = text
        .of("host")
        .filter(|line| line.has("log2") || line.has("min"));
    ensure!(lines.count() == 0, "{text:?}");
    let mut want = 0;
    for vm in &vms {
        want += vm.exits()?;
    }
    let (got, _) = text.total("host")?;
    ensure!(got == want, "want {want} got {got}");
    Ok(format!("{got} exits, as by KVM"))
}

fn without_vcpus(host: &mut Host) -> Result<String> {
    host.reload("log=N per_vcpu=N")?;
    let _vms = everything()?;
    let text = Text::read()?;
    text.add_up()?;
    let lines = text
        .of("vcpu")
        .chain(text.of("attached"))
        .chain(text.of("ended"));
    ensure!(lines.count() == 0, "{text:?}");
    for line in text.of("host") {
        check_histogram(line).with_context(|| format!("{line:?}"))?;
    }
    Ok(format!(
        "{} exits, all unattributed",
        text.total("unattributed")?.0
    ))
}

/// Exits after which KVM re-enters the guest without handling them are counted, and
/// their time is unknown: of 24 writes of MSRs one is timed, and least, most and all
/// are that one's. SVM has no such exits here.
fn untimed(host: &mut Host) -> Result<String> {
    const TSC_DEADLINE: u32 = 0x6e0;
    const UCODE: u32 = 0x79;
    let reason = MSR_WRITE.number();
    let again = match cpu::is_vmx() {
        true => 23,
        false => 0,
    };
    for _ in 0..20 {
        host.reload("log=N")?;
        let mut vm = Vm::new(&Config {
            irqchip: true,
            ..Config::default()
        })?;
        // Who has none.
        let mut other = Vm::plain()?;
        vmcalls(&mut other.vcpus[0], 23)?;
        let mut program = Program::new();
        program.repeat(Op::WrmsrZero, 23, TSC_DEADLINE);
        program.repeat(Op::WrmsrZero, 1, UCODE);
        let before = vm.exits()?;
        vm.run(&program)?;
        if vm.exits()? != before + 25 {
            continue; // an interrupt among them, which KVM may have to see to
        }
        let text = Text::read()?;
        text.add_up()?;
        let line = text.row("host", reason).context("no line")?;
        check_histogram(line).with_context(|| format!("{line:?}"))?;
        let want = (24, again);
        let told = (line.number("exits")?, line.number("untimed")?);
        ensure!(told == want, "want {want:?}: {line:?}");
        if again > 0 {
            let (cycles, min) = (line.number("cycles")?, line.number("min")?);
            let one = cycles == min && cycles == line.number("max")? && cycles > 0;
            ensure!(one, "not that of one: {line:?}");
        }
        let own = text.row("vcpu", reason).context("no line of the vCPU")?;
        let told = (own.number("exits")?, own.number("untimed")?);
        ensure!(told == want, "want {want:?}: {own:?}");
        ensure!(own.text("vm")? == vm.name(), "{own:?}");
        let all = text.by_reason(&["host"])?;
        let sum: u64 = all.values().map(|row| row.2).sum();
        ensure!(sum == again, "{sum} untimed in all: {all:?}");
        for scope in ["host", "vm", "vcpu"] {
            module::set_param(PROFILER, "scope", scope)?;
            let asked = [(leaf::EXITS, reason), (leaf::UNTIMED, reason)];
            let answers = ask(&mut vm, &asked)?;
            let got = (leaf::exits(answers[0])?, leaf::exits(answers[1])?);
            ensure!(got == want, "scope={scope}: want {want:?} got {got:?}");
            let own = ask(&mut other, &asked)?;
            let got = (leaf::exits(own[0])?, leaf::exits(own[1])?);
            let want = if scope == "host" { want } else { (0, 0) };
            ensure!(got == want, "the other, {scope}: want {want:?} got {got:?}");
        }
        // When the VM ends, they are among those that have ended.
        drop(vm);
        drop(other);
        let text = Text::read()?;
        text.add_up()?;
        let ended = text.row("ended", reason).context("no line of the ended")?;
        ensure!(ended.number("untimed")? == again, "{ended:?}");
        module::set_param(PROFILER, "reset", "1")?;
        let none = query(&mut Vm::plain()?, leaf::UNTIMED, reason)?;
        ensure!(none == [0; 4], "after a reset: {none:x?}");
        return Ok(format!("24 exits, {again} of them untimed"));
    }
    bail!("interrupts disturbed every attempt")
}

/// The module's own account: what it takes, what a sample costs, and what it did
/// not log.
fn account(host: &mut Host) -> Result<String> {
    host.reload("per_vcpu=N histograms=N")?;
    let bytes = || Text::read()?.account()?.number("memory_bytes");
    let least = bytes()?;
    host.reload("per_vcpu=N")?;
    let histograms = bytes()? - least;
    let cpus = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = cpus.trim().rsplit('-').next().unwrap_or_default();
    let cpus = last.parse::<u64>()? + 1;
    // Two counters, of 16 bytes, and two numbers of untimed exits, of 8; and then
    // least, most and 30 buckets, of 8 bytes.
    ensure!(least % (48 * cpus) == 0, "{least} bytes for {cpus} CPUs");
    let slots = least / 48 / cpus;
    ensure!(slots == cpu::isa().slots() as u64, "{slots} slots");
    ensure!(
        histograms == slots * 256 * cpus,
        "{histograms} bytes for {slots} histograms"
    );

    host.reload("")?;
    let before = bytes()?;
    let mut vm = Vm::with_vcpus(2)?;
    let profiles = bytes()? - before;
    // A counter and a number for each, and room for who it is.
    let own = 2 * (24 * slots + 1).next_power_of_two();
    ensure!(profiles == own, "{profiles} bytes for 2 vCPUs, want {own}");
    let more = Vm::with_vcpus(3)?;
    let (got, want) = (bytes()? - before, own / 2 * 5);
    ensure!(got == want, "{got} bytes for 5 vCPUs, want {want}");
    drop(more);
    let left = bytes()? - before;
    ensure!(left == own, "{left} bytes when 3 have ended, want {own}");

    let text = Text::read()?;
    let account = text.account()?;
    let sample = account.number("sample_cycles")?;
    let record = account.number("record_cycles")?;
    // The cycles of a sample lie within those of recording it.
    ensure!(record > sample, "{account:?}");

    ensure!(account.number("suppressed")? == 0, "{account:?}");
    let mut log = Kmsg::from_now()?;
    let mut program = Program::new();
    program.repeat(Op::Cpuid, 1009, leaf::TOTAL_EXITS);
    vm.run(&program)?;
    module::set_param(PROFILER, "log", "N")?;
    let suppressed = Text::read()?.account()?.number("suppressed")?;
    host.unload_profiler()?;
    let lines = log.drain()?;
    let logged = lines
        .iter()
        .filter(|l| l.starts_with("kvm_exitprof: 0x4ffffffc"));
    let logged = logged.count() as u64;
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

/// Epoch, as guests read it.
fn epoch(vm: &mut Vm) -> Result<u32> {
    Ok(query(vm, leaf::PROTOCOL, 0)?[2])
}

/// All that was counted is gone, of whatever it was; what comes then is counted.
fn reset(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let vms = everything()?;
    let mut vm = Vm::with_vcpus(2)?;
    let old = epoch(&mut vm)?;
    drop(vms);
    let before = Text::read()?;
    ensure!(before.total("ended")?.0 > 0, "{before:?}");
    control("reset", "1\n")?;
    let empty = Text::read()?;
    for kind in ["host", "vcpu", "ended", "unattributed"] {
        ensure!(empty.of(kind).count() == 0, "{empty:?}");
    }
    ensure!(empty.of("attached").count() == 2, "{empty:?}");
    let since = |text: &Text| text.head().number("since_ns");
    ensure!(
        since(&empty)? > before.head().number("time_ns")?,
        "{empty:?}"
    );
    let new = epoch(&mut vm)?;
    ensure!(new != old && new != 0, "epoch {old}, then {new}");
    ensure!(empty.head().number("epoch")? == new.into(), "{empty:?}");

    let start = vm.exits()?;
    vmcalls(&mut vm.vcpus[1], 1)?;
    let text = Text::read()?;
    text.add_up()?;
    for line in text.of("host") {
        // Least and most are those of the new exits alone.
        check_histogram(line).with_context(|| format!("{line:?}"))?;
    }
    // The epoch was asked for after the reset: a CPUID, and the end of the program.
    let (got, want) = (text.total("host")?.0, vm.exits()? - start + 2);
    ensure!(got == want, "want {want} got {got}");
    Ok(format!(
        "{} exits, then 0, then {got}",
        before.total("host")?.0
    ))
}

/// Whenever it comes, what is counted of the host and of vCPUs starts from zero at
/// the same moment.
fn reset_under_load(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 50;
    host.reload("log=N")?;
    let mut storm = Vm::with_vcpus(3)?;
    let mut counted = 0;
    while_storming(&mut storm.vcpus, || {
        let mut epochs = Vec::new();
        for _ in 0..TIMES {
            control("reset", "1")?;
            // VMs come and go meanwhile.
            vmcalls(&mut Vm::with_vcpus(1)?.vcpus[0], 23)?;
            let text = Text::read()?;
            for line in text.of("host") {
                let (min, max) = (line.number("min")?, line.number("max")?);
                ensure!(min <= max && !line.log2()?.is_empty(), "{line:?}");
            }
            counted += text.total("host")?.0;
            epochs.push(text.head().number("epoch")?);
        }
        epochs.sort_unstable();
        epochs.dedup();
        ensure!(epochs.len() == TIMES as usize, "{epochs:?}");
        Ok(())
    })?;
    let text = Text::read()?;
    text.add_up()?;
    for line in text.of("host") {
        check_histogram(line).with_context(|| format!("{line:?}"))?;
    }
    let (last, all) = (text.total("host")?.0, storm.exits()?);
    ensure!(last > 0 && counted > 0, "nothing was counted");
    ensure!(last < all, "{last} of {all} exits after the last time");
    Ok(format!(
        "{TIMES} times, {counted} exits seen, then {last}, of {all} and more"
    ))
}

/// A snapshot is of the epoch in which it was taken, and no longer.
fn voids(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::with_vcpus(1)?;
    vmcalls(&mut vm.vcpus[0], 23)?;
    let held = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(held == (true, 1), "{held:?}");
    control("reset", "1")?;
    let told = command(&mut vm.vcpus[0], TELL)?;
    ensure!(told == (false, 1), "{told:?}");
    none_held(&mut vm.vcpus[0])?;
    let [exits, ..] = query(&mut vm, leaf::EXITS, HYPERCALL.number())?;
    ensure!(exits == 0, "{exits} hypercalls");
    let again = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(again == (true, 2), "{again:?}");
    let released = command(&mut vm.vcpus[0], RELEASE)?;
    ensure!(released == (false, 2), "{released:?}");
    Ok("held, void, taken anew".into())
}

/// The parameter and the file agree, also across a reset.
fn recording(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    for (value, param) in [("0", "N"), ("1", "Y"), ("0\n", "N"), ("Y", "Y"), ("N", "N")] {
        control("recording", value)?;
        control("reset", "1")?;
        let shown = module::param(PROFILER, "recording")?;
        ensure!(shown == param, "wrote {value:?}, parameter {shown}");
        vmcalls(&mut vm.vcpus[0], 23)?;
        let text = Text::read()?;
        let on = text.head().number("recording")?;
        ensure!(
            on == u64::from(param == "Y"),
            "wrote {value:?}, {:?}",
            text.head()
        );
        let got = text.total("host")?.0;
        ensure!(
            (got >= 23) == (on == 1) && (got == 0) == (on == 0),
            "{value:?}: {got}"
        );
    }
    Ok("off, on, off, on, off".into())
}

/// What is not a command is refused and changes nothing; only root sees any of it.
fn nonsense(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    vmcalls(&mut vm.vcpus[0], 23)?;
    let state = |vm: &mut Vm| -> Result<_> {
        let total = Text::read()?.total("vcpu")?.0.wrapping_sub(vm.exits()?);
        Ok((total, epoch(vm)?, module::param(PROFILER, "recording")?))
    };
    let before = state(&mut vm)?;
    let mut refused = 0;
    let reset = ["", "0", "2", "-1", "x", "1x", "1 1", "11", "yes", "Y"];
    // Of what begins with a digit or a letter that means something, the kernel
    // looks no further.
    let recording = ["", "2", "-1", "x", " 1"];
    let both = reset.map(|value| ("reset", value));
    for (name, value) in both.into_iter().chain(recording.map(|v| ("recording", v))) {
        let error = control(name, value).err();
        // Nothing is written at all by a write of nothing.
        if let Some(error) = error {
            let errno = error.raw_os_error();
            ensure!(errno == Some(libc::EINVAL), "{name}={value:?}: {error}");
            refused += 1;
        } else {
            ensure!(value.is_empty(), "{name}={value:?} was taken");
        }
        let after = state(&mut vm)?;
        ensure!(
            after == before,
            "{name}={value:?}: {before:?}, then {after:?}"
        );
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(DIR).context(DIR)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    ensure!(files == ["exits", "profile", "vcpus"], "{files:?}");
    let files = files.iter().map(|file| (format!("{DIR}/{file}"), 0o400));
    let parameters = [("reset", 0o200), ("report", 0o200), ("recording", 0o644)];
    let parameters = parameters.map(|(name, mode)| (format!("{PARAMETERS}/{name}"), mode));
    for (path, mode) in files.chain(parameters) {
        let got = fs::metadata(&path).with_context(|| path.clone())?;
        let got = got.permissions().mode() & 0o777;
        ensure!(got == mode, "{path} has mode {got:o}");
    }
    Ok(format!("{refused} times EINVAL"))
}
