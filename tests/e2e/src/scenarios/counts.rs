// SPDX-License-Identifier: GPL-2.0
//! Workloads that need more than a line of the table: what happens between
//! runs of the guest, or to it from outside.

use super::test;
use crate::cpu::{INTERRUPT, SHUTDOWN};
use crate::guest::Program;
use crate::leaf::{self, Books, exits, query};
use crate::module::{Host, State};
use crate::ops::Op;
use crate::runner::Test;
use crate::vm::{Config, End, Vm};
use crate::watchdog;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

pub fn tests() -> Vec<Test> {
    let profiled =
        |name: &str, run: fn(&mut Host) -> Result<String>| test(name, State::Profiled, run);
    vec![
        profiled("count.triple_fault", triple_fault),
        profiled("count.external_interrupt", interrupts),
        profiled("count.kicked_fast_path", kicked),
        profiled("count.hidden_reason", hidden),
    ]
}

fn triple_fault(_: &mut Host) -> Result<String> {
    let mut books = Books::open(&[])?;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::TripleFault, 1, 0);
    let before = exits(query(&mut vm, leaf::EXITS, SHUTDOWN.number())?)?;
    for _ in 0..5 {
        let (end, _) = vm.vcpus[0].run_to_end(&program)?;
        ensure!(end == End::Shutdown, "the guest survived");
    }
    let got = exits(query(&mut vm, leaf::EXITS, SHUTDOWN.number())?)? - before;
    ensure!(got == 5, "want 5 got {got}");
    books.balance(&[&vm])?;
    Ok(format!("want 5 got {got}"))
}

/// A tenth of a second of spinning meets some of the host's timer interrupts.
fn interrupts(_: &mut Host) -> Result<String> {
    let mut books = Books::open(&[])?;
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, INTERRUPT.number());
    program.repeat(Op::Spin, 1, vm.vcpus[0].tsc_khz()? / 10);
    program.cpuid(leaf::EXITS, INTERRUPT.number());
    let answers = vm.run(&program)?;
    let got = exits(answers[1])? - exits(answers[0])?;
    ensure!((1..10_000).contains(&got), "want 1 to 9999 got {got}");
    books.balance(&[&vm])?;
    Ok(format!("want at least 1 got {got}"))
}

/// The fast path re-enters the guest, unless somebody wants the vCPU back:
/// either way its exit is one. A second thread wants it all the time, but with
/// pauses of every length, so that the guest gets on.
fn kicked(_: &mut Host) -> Result<String> {
    const TIMES: u32 = 10_007;
    let mut books = Books::open(&[])?;
    let mut vm = Vm::new(&Config {
        irqchip: true,
        ..Config::default()
    })?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, 32);
    program.repeat(Op::WrmsrZero, TIMES, 0x6e0);
    program.cpuid(leaf::EXITS, 32);
    let target = AtomicI32::new(0);
    let (answers, kicks) = thread::scope(|scope| {
        let guest = scope.spawn(|| {
            // SAFETY: gettid has no preconditions.
            target.store(unsafe { libc::gettid() }, Ordering::Release);
            vm.run(&program)
        });
        let mut kicks = 0_u32;
        while !guest.is_finished() {
            match target.load(Ordering::Acquire) {
                0 => thread::yield_now(),
                tid => kicks += u32::from(watchdog::kick(tid)),
            }
            for _ in 0..500 + kicks % 2003 * 2 {
                std::hint::spin_loop();
            }
        }
        let answers = guest.join().ok().context("the guest panicked")?;
        anyhow::Ok((answers?, kicks))
    })?;
    let got = exits(answers[1])? - exits(answers[0])?;
    ensure!(got == u64::from(TIMES), "want {TIMES} got {got}");
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "want {TIMES} got {got}, {kicks} kicks, total {total} as KVM's"
    ))
}

/// Exits of reason 33, which KVM makes up when it has to emulate and which has
/// no handler: none for leaf FE, but in the total and in leaf 02.
fn hidden(host: &mut Host) -> Result<String> {
    const TIMES: u64 = 23;
    host.forget();
    host.unload_vendor()?;
    host.load_vendor(true, "unrestricted_guest=0")?;
    let mut books = Books::open(&[])?;
    let mut vm = Vm::plain()?;
    let hidden = |vm: &mut Vm| anyhow::Ok(leaf::hidden(query(vm, leaf::HIDDEN, 0)?));
    let before = hidden(&mut vm)?;
    let mut program = Program::new();
    program.repeat(Op::MendFs, 1, 0);
    for _ in 0..TIMES {
        vm.vcpus[0].spoil_fs()?;
        vm.run(&program)?;
    }
    let after = hidden(&mut vm)?;
    let (exits, cycles) = (after.0 - before.0, after.1 - before.1);
    // KVM emulates up to 130 instructions per exit, more than it takes, but
    // stops early, and begins anew, when an event or a task is waiting.
    let want = TIMES..=2 * TIMES;
    ensure!(want.contains(&exits), "want {TIMES} or more, got {exits}");
    ensure!(cycles > exits, "{cycles} cycles for {exits} exits");
    let shown = query(&mut vm, leaf::EXITS, 33)?;
    ensure!(shown == [0; 4], "leaf FE answers {shown:x?}");
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "want {TIMES} or more, got {exits} in leaf 02, total {total} as KVM's"
    ))
}
