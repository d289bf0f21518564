// SPDX-License-Identifier: GPL-2.0
//! The host's log: every query leaves a line, and a flood leaves no more than it may.

use crate::harness::{Test, threads};
use crate::host::debugfs::ProfileFile;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, Kmsg, State};
use crate::oracle::leaf::{self, cycles, exits};
use crate::oracle::log::{BURST, GUESTS, bounds, expected, ours, query_line, suppressed};
use crate::oracle::snapshot::TAKE;
use crate::vmm::cpu::{self, DR_READ, HYPERCALL, IO, Status, WBINVD, reasons};
use crate::vmm::{Op, Program, Vm};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("log.line_per_query", State::Absent, line_per_query),
        Test::new("log.flood_is_bounded", State::Absent, flood),
        Test::new("log.per_day", State::Absent, per_day),
        Test::new("log.flushed_at_unload", State::Absent, flushed),
        Test::new("log.guest_not_muted", State::Absent, not_muted),
        Test::new("log.switch", State::Profiled, switch),
        Test::new("log.report", State::Profiled, report),
        Test::new("log.table_at_unload", State::Profiled, table_at_unload),
    ]
}

/// A program of `count` queries.
fn queries(count: usize) -> Program {
    Program::repeated(Op::Cpuid, count as u32, leaf::TOTAL_EXITS)
}

fn line_per_query(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let mut vm = Vm::plain()?;
    let mut asked = vec![(leaf::TOTAL_EXITS, 7), (leaf::TOTAL_CYCLES, 7)];
    for ecx in (0..70).chain([80, u32::MAX]) {
        asked.extend([(leaf::EXITS, ecx), (leaf::CYCLES, ecx)]);
    }
    let mut program = Program::cpuids(&asked);
    // These leave no line, whether they are live or read a snapshot.
    program.cpuid(leaf::SNAPSHOT, TAKE);
    for eax in (leaf::DISCOVERY..leaf::TOTAL_EXITS).chain([0]) {
        program.cpuid(eax, 10);
    }
    let mut log = Kmsg::from_now()?;
    let answers = vm.run(&program)?;
    let lines = log.collect(asked.len() + 1, Duration::from_secs(2), query_line)?;
    for ((&(eax, ecx), &got), line) in asked.iter().zip(&answers).zip(&lines) {
        let want = expected(&vm, eax, ecx, got)?;
        ensure!(*line == want, "logged {line:?}, want {want:?}");
    }
    let (want, got) = (asked.len(), lines.len());
    ensure!(got == want, "want {want} lines got {got}");
    Ok(format!("want {want} lines got {got}"))
}

fn flood(host: &mut Host) -> Result<String> {
    const QUERIES: usize = 20_000;
    host.reload("")?;
    let mut vm = Vm::plain()?;
    let mut log = Kmsg::from_now()?;
    let start = Instant::now();
    vm.run(&queries(QUERIES))?;
    // After a second, a line tells how many were suppressed. The next comes an hour
    // later.
    thread::sleep(Duration::from_secs(3));
    let took = start.elapsed();
    let lines = log.drain()?;
    let logged = lines.iter().filter_map(|l| query_line(l)).count();
    let told: Vec<_> = lines.iter().filter_map(|l| suppressed(l)).collect();
    let dropped = ProfileFile::read()?.account()?.number("suppressed")? as usize;
    let text = format!("{logged} logged, {dropped} suppressed, {told:?} by the log, in {took:.1?}");
    ensure!(bounds(took).contains(&logged), "{text}, want {BURST}");
    ensure!(logged + dropped == QUERIES, "{text}, of {QUERIES}");
    ensure!(told.len() == 1, "{text}");
    // At unload, another line tells about the rest.
    host.reach(State::Absent)?;
    let lines = log.drain()?;
    let rest: Vec<_> = lines.iter().filter_map(|l| suppressed(l)).collect();
    let sum = told.iter().chain(&rest).sum::<usize>();
    ensure!(rest.len() <= 1 && sum == dropped, "{text}, then {rest:?}");
    Ok(text)
}

/// A guest that has used up its lines gets no more while the test waits, however slowly
/// it asks. Other guests get their own, up to a number of guests.
fn per_day(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let mut guests = Vec::new();
    for _ in 0..=GUESTS {
        guests.push(Vm::plain()?);
    }
    let burst = queries(BURST);
    let (mut log, mut whole) = (Kmsg::from_now()?, Kmsg::from_now()?);
    let mut logged = Vec::new();
    let start = Instant::now();
    for guest in &mut guests {
        guest.run(&burst)?;
        let lines = log.collect(BURST, Duration::from_secs(2), query_line)?;
        logged.push(lines.len());
    }
    let mut want = vec![BURST; GUESTS];
    want.push(0);
    ensure!(logged == want, "want {want:?} lines got {logged:?}");
    let end = Instant::now() + Duration::from_secs(4);
    let mut asked = 0;
    while Instant::now() < end {
        for guest in &mut guests {
            guest.cpuid(leaf::TOTAL_EXITS, 0)?;
            asked += 1;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let lines = whole.drain()?;
    let all = lines.iter().filter_map(|line| query_line(line)).count();
    let told = lines.iter().filter_map(|line| suppressed(line)).count();
    let text =
        format!("{logged:?} lines, {all} with {asked} more queries, {told} of suppressed ones");
    let bounds = bounds(start.elapsed());
    let (least, most) = (GUESTS * bounds.start(), GUESTS * bounds.end());
    ensure!((least..=most).contains(&all) && told == 1, "{text}");
    Ok(text)
}

/// Lines that are not printed yet are not lost with the module.
fn flushed(host: &mut Host) -> Result<String> {
    const QUERIES: usize = 1009;
    host.reload("")?;
    let mut vm = Vm::plain()?;
    let mut log = Kmsg::from_now()?;
    vm.run(&queries(QUERIES))?;
    host.reach(State::Absent)?;
    let lines = log.drain()?;
    let logged = lines.iter().filter_map(|l| query_line(l)).count();
    let dropped: usize = lines.iter().filter_map(|l| suppressed(l)).sum();
    let text = format!("{logged} logged, {dropped} suppressed, of {QUERIES}");
    ensure!(logged + dropped == QUERIES && logged == BURST, "{text}");
    Ok(text)
}

/// While one guest floods the log, each query of another is logged.
fn not_muted(host: &mut Host) -> Result<String> {
    host.reload("")?;
    let mut noisy = Vm::plain()?;
    let mut quiet = Vm::plain()?;
    let mut log = Kmsg::from_now()?;
    let flood = || noisy.run(&queries(1000)).map(drop);
    let (asked, logged) = threads::beside([flood], || {
        // More than one guest's burst, so that it is used up.
        log.collect(BURST, Duration::from_secs(5), query_line)?;
        let mut asked = 0;
        let mut logged = 0;
        for _ in 0..5 {
            let got = quiet.cpuid(leaf::EXITS, DR_READ.number())?;
            let want = expected(&quiet, leaf::EXITS, DR_READ.number(), got)?;
            let hit = |l: &str| query_line(l).filter(|l| *l == want);
            asked += 1;
            logged += log.collect(1, Duration::from_secs(2), hit)?.len();
        }
        Ok((asked, logged))
    })?;
    ensure!(logged == asked, "{logged} of {asked} queries logged");
    Ok(format!("{logged} of {asked} queries logged"))
}

fn switch(_: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut counts = Vec::new();
    for value in ["N", "Y"] {
        module::set_param(PROFILER, "log", value)?;
        let mut log = Kmsg::from_now()?;
        vm.cpuid(leaf::EXITS, DR_READ.number())?;
        counts.push(log.collect(1, Duration::from_secs(2), query_line)?.len());
    }
    ensure!(counts == [0, 1], "off and on: {counts:?} lines");
    Ok(format!("off and on: {counts:?} lines"))
}

/// A table by reason.
struct Table {
    rows: BTreeMap<u32, (String, u64, u64)>,
    total: (u64, u64),
    descending: bool,
}

/// Waits for a table in the log.
fn read_table(log: &mut Kmsg) -> Result<Table> {
    let mut rows = BTreeMap::new();
    let mut total = None;
    let mut last = u64::MAX;
    let mut descending = true;
    let deadline = Instant::now() + Duration::from_secs(3);
    while total.is_none() && Instant::now() < deadline {
        let Some(line) = log.next()? else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        let words: Vec<_> = ours(&line).unwrap_or_default().split_whitespace().collect();
        match words[..] {
            ["total", exits, cycles] => total = Some((exits.parse()?, cycles.parse()?)),
            [reason, name, exits, cycles] => {
                let hex = reason
                    .strip_prefix("0x")
                    .map(|n| u32::from_str_radix(n, 16));
                let Ok(reason) = hex.unwrap_or_else(|| reason.parse()) else {
                    continue;
                };
                let exits = exits.parse()?;
                descending &= exits <= last;
                last = exits;
                rows.insert(reason, (name.to_owned(), exits, cycles.parse()?));
            }
            _ => {}
        }
    }
    Ok(Table {
        rows,
        total: total.context("no table in the kernel's log")?,
        descending,
    })
}

/// Checks that the table has what a guest has read for every reason.
fn compare(table: &Table, told: &BTreeMap<u32, (u64, u64)>) -> Result<String> {
    ensure!(table.descending, "the table is not in order");
    for (&reason, &(exits, cycles)) in told {
        let row = table.rows.get(&reason);
        let Some((name, row_exits, row_cycles)) = row else {
            ensure!(exits == 0, "reason {reason} is missing, want {exits}");
            continue;
        };
        let row = (*row_exits, *row_cycles);
        ensure!(
            row == (exits, cycles) && exits > 0,
            "reason {reason}: row {row:?}, the guest {:?}",
            (exits, cycles)
        );
        let want = cpu::isa().name(reason).to_string();
        ensure!(*name == want, "reason {reason}: {name}, want {want}");
    }
    let sum = table
        .rows
        .values()
        .fold((0, 0), |s, r| (s.0 + r.1, s.1 + r.2));
    ensure!(table.total == sum, "total {:?}, rows {sum:?}", table.total);
    Ok(format!("{} rows, {} exits", table.rows.len(), sum.0))
}

/// Exits and cycles of every handled reason, as a guest reads them.
fn ask_all(vm: &mut Vm) -> Result<BTreeMap<u32, (u64, u64)>> {
    let mut program = Program::new();
    let reasons = reasons(Status::Handled);
    for &reason in &reasons {
        program.cpuid(leaf::EXITS, reason);
        program.cpuid(leaf::CYCLES, reason);
    }
    let answers = vm.run(&program)?;
    let mut told = BTreeMap::new();
    for (reason, pair) in reasons.into_iter().zip(answers.chunks_exact(2)) {
        told.insert(reason, (exits(pair[0])?, cycles(pair[1])?));
    }
    Ok(told)
}

/// Causes some exits, switches log and recording off, and returns what a guest reads
/// then.
fn record_some() -> Result<BTreeMap<u32, (u64, u64)>> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 23, 0);
    program.repeat(Op::Wbinvd, 29, 0);
    program.repeat(Op::Out, 31, 0);
    vm.run(&program)?;
    module::set_param(PROFILER, "log", "N")?;
    module::set_param(PROFILER, "recording", "N")?;
    let told = ask_all(&mut vm)?;
    let recorded =
        [HYPERCALL, WBINVD, IO].map(|reason| told.get(&reason.number()).is_some_and(|s| s.0 >= 23));
    ensure!(recorded == [true; 3], "the guest was told {told:?}");
    Ok(told)
}

fn report(_: &mut Host) -> Result<String> {
    let told = record_some()?;
    let mut log = Kmsg::from_now()?;
    module::set_param(PROFILER, "report", "1")?;
    let table = read_table(&mut log)?;
    module::set_param(PROFILER, "recording", "Y")?;
    module::set_param(PROFILER, "log", "Y")?;
    compare(&table, &told)
}

fn table_at_unload(host: &mut Host) -> Result<String> {
    let told = record_some()?;
    let mut log = Kmsg::from_now()?;
    host.reach(State::Absent)?;
    let table = read_table(&mut log)?;
    let unloaded = |l: &str| ours(l).filter(|l| *l == "unloaded").map(Into::into);
    log.expect("line at unload", unloaded).map(|_: String| ())?;
    compare(&table, &told)
}
