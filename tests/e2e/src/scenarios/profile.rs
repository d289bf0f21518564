// SPDX-License-Identifier: GPL-2.0
//! What the host's programs read and control: the file `profile`, distributions,
//! starting from zero.

use super::scope::{RELEASE, TAKE, TELL, command, while_storming};
use super::test;
use crate::cpu::{self, HYPERCALL};
use crate::cpus;
use crate::debugfs::{PROFILER as DIR, Reasons};
use crate::guest::Program;
use crate::kmsg::Kmsg;
use crate::leaf::{self, query};
use crate::module::{self, Host, PROFILER, State};
use crate::ops::Op;
use crate::runner::Test;
use crate::text::{Line, Text};
use crate::vm::{Vcpu, Vm};
use crate::workloads::WORKLOADS;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread::sleep;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        test("profile.adds_up", State::Absent, adds_up),
        test("profile.distributions", State::Absent, distributions),
        test("profile.without_distributions", State::Absent, without),
        test("profile.without_vcpus", State::Absent, without_vcpus),
        test("profile.account", State::Absent, account),
        test("control.reset", State::Absent, reset),
        test("control.reset_under_load", State::Absent, |host| {
            cpus::changing_code(|| reset_under_load(host))
        }),
        test("control.reset_voids_snapshots", State::Absent, voids),
        test("control.sampling", State::Absent, sampling),
        test("control.nonsense", State::Absent, nonsense),
    ]
}

/// Writes to a control file.
fn control(file: &str, value: &str) -> std::io::Result<()> {
    fs::write(format!("{DIR}/{file}"), value)
}

fn vmcalls(vcpu: &mut Vcpu, count: u32) -> Result<()> {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, count, 0);
    vcpu.run(&program).map(drop)
}

/// Runs all that the table of workloads has for the modules as they are loaded.
fn everything() -> Result<Vec<Vm>> {
    let workloads = WORKLOADS.iter().filter(|workload| workload.runs());
    let run = |workload: &crate::workload::Workload| {
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
    for flag in ["sampling", "per_vcpu", "distributions"] {
        ensure!(head.number(flag)? == 1, "{head:?}");
    }
    Ok(format!("{rows} reasons, {} exits", total.0))
}

/// What a line's histogram, least and most say of each other, and of the sums.
fn check_distribution(line: &Line) -> Result<()> {
    let (exits, cycles) = line.sample()?;
    let (min, max) = (line.number("min")?, line.number("max")?);
    let log2 = line.log2()?;
    ensure!(log2.values().sum::<u64>() == exits, "not {exits} exits");
    // All but the least and the most are somewhere between.
    let (least, most) = (min * (exits - 1) + max, max * (exits - 1) + min);
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
fn distributions(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let own = |text: &Text| -> Result<Line> {
        let number = HYPERCALL.number().to_string();
        let is_own = |line: &&Line| line.text("reason").ok() == Some(&number);
        text.of("host").find(is_own).cloned().context("no line")
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
        check_distribution(line).with_context(|| format!("{line:?}"))?;
    }
    // More exits make neither the least more, nor the most less.
    let before = own(&text)?;
    vmcalls(&mut vm.vcpus[0], 1009)?;
    let after = own(&Text::read()?)?;
    check_distribution(&after).with_context(|| format!("{after:?}"))?;
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
    host.reload("log=N distributions=N")?;
    let vms = everything()?;
    let text = Text::read()?;
    text.add_up()?;
    ensure!(
        text.head().number("distributions")? == 0,
        "{:?}",
        text.head()
    );
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
        check_distribution(line).with_context(|| format!("{line:?}"))?;
    }
    Ok(format!(
        "{} exits, all unattributed",
        text.total("unattributed")?.0
    ))
}

/// The module's own account: what it takes, what a sample costs, and what it did
/// not log.
fn account(host: &mut Host) -> Result<String> {
    host.reload("per_vcpu=N distributions=N")?;
    let bytes = || Text::read()?.account()?.number("memory_bytes");
    let least = bytes()?;
    host.reload("per_vcpu=N")?;
    let spread = bytes()? - least;
    let cpus = fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = cpus.trim().rsplit('-').next().unwrap_or_default();
    let cpus = last.parse::<u64>()? + 1;
    // Two counters, of 16 bytes; and then least, most and 30 buckets, of 8 bytes.
    ensure!(least % (32 * cpus) == 0, "{least} bytes for {cpus} CPUs");
    let slots = least / 32 / cpus;
    ensure!(
        spread == slots * 256 * cpus,
        "{spread} bytes for {slots} distributions"
    );

    host.reload("")?;
    let before = bytes()?;
    let mut vm = Vm::with_vcpus(2)?;
    let profiles = bytes()? - before;
    let own = 2 * 16 * slots;
    ensure!(
        (own..own + 256).contains(&profiles),
        "{profiles} bytes for 2 vCPUs"
    );

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
        "{least} + {spread} + 2 · {} bytes; {sample} and {record} cycles; {logged} + {suppressed} lines",
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
        check_distribution(line).with_context(|| format!("{line:?}"))?;
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
        check_distribution(line).with_context(|| format!("{line:?}"))?;
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
    let [exits, ..] = query(&mut vm, leaf::EXITS, HYPERCALL.number())?;
    ensure!(exits == 0, "{exits} hypercalls");
    let again = command(&mut vm.vcpus[0], TAKE)?;
    ensure!(again == (true, 2), "{again:?}");
    let released = command(&mut vm.vcpus[0], RELEASE)?;
    ensure!(released == (false, 2), "{released:?}");
    Ok("held, void, taken anew".into())
}

/// The file and the parameter are one, also across a reset.
fn sampling(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    for (value, param) in [("0", "N"), ("1", "Y"), ("0\n", "N")] {
        control("sampling", value)?;
        control("reset", "1")?;
        let shown = fs::read_to_string(format!("{DIR}/sampling"))?;
        ensure!(
            shown.trim() == value.trim(),
            "wrote {value:?}, reads {shown:?}"
        );
        let shown = module::param(PROFILER, "sampling")?;
        ensure!(shown == param, "wrote {value:?}, parameter {shown}");
        vmcalls(&mut vm.vcpus[0], 23)?;
        let text = Text::read()?;
        let on = text.head().number("sampling")?;
        ensure!(
            on.to_string() == value.trim(),
            "wrote {value:?}, {:?}",
            text.head()
        );
        let got = text.total("host")?.0;
        ensure!(
            (got >= 23) == (on == 1) && (got == 0) == (on == 0),
            "{value:?}: {got}"
        );
    }
    Ok("off, on, off".into())
}

/// What is not a command is refused and changes nothing; only root sees any of it.
fn nonsense(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    vmcalls(&mut vm.vcpus[0], 23)?;
    let state = |vm: &mut Vm| -> Result<_> {
        let total = Text::read()?.total("vcpu")?.0.wrapping_sub(vm.exits()?);
        Ok((total, epoch(vm)?, module::param(PROFILER, "sampling")?))
    };
    let before = state(&mut vm)?;
    let mut refused = 0;
    for file in ["reset", "sampling"] {
        for value in ["", "2", "-1", "x", "1x", "1 1", "yes"] {
            let error = control(file, value).err();
            // Nothing is written at all by a write of nothing.
            if let Some(error) = error {
                let errno = error.raw_os_error();
                ensure!(errno == Some(libc::EINVAL), "{file}={value:?}: {error}");
                refused += 1;
            } else {
                ensure!(value.is_empty(), "{file}={value:?} was taken");
            }
            let after = state(&mut vm)?;
            ensure!(
                after == before,
                "{file}={value:?}: {before:?}, then {after:?}"
            );
        }
    }
    ensure!(control("reset", "0").is_err(), "reset=0 was taken");
    for (file, mode) in [
        ("profile", 0o400),
        ("exits", 0o400),
        ("vcpus", 0o400),
        ("reset", 0o200),
        ("sampling", 0o600),
    ] {
        let path = format!("{DIR}/{file}");
        let got = fs::metadata(&path).context(path)?.permissions().mode() & 0o777;
        ensure!(got == mode, "{file} has mode {got:o}");
    }
    Ok(format!("{refused} times EINVAL"))
}
