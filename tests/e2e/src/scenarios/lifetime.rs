// SPDX-License-Identifier: GPL-2.0
//! Loading and unloading: in every order, refused or not.

use super::test;
use crate::harness::runner::Test;
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State, describe, errno, remove_now};
use crate::oracle::leaf::{self, exits, query};
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::guest::Program;
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Result, ensure};
use std::io;
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        test("load.line", State::Absent, line),
        test("load.scope_is_told", State::Absent, scope_is_told),
        test("load.twice", State::Profiled, twice),
        test("load.on_unpatched_kvm", State::Unpatched, on_unpatched),
        test("load.without_kvm", State::Nothing, without_kvm),
        test("load.before_vendor", State::Nothing, before_vendor),
        test("load.starts_from_zero", State::Profiled, from_zero),
        test("unload.kvm_in_use", State::Profiled, kvm_in_use),
        test("unload.vendor_under_us", State::Profiled, vendor_reload),
    ]
}

/// Demands that a system call failed with one of `want`.
fn refused(what: &str, result: &io::Result<()>, want: &[i32]) -> Result<String> {
    let got = errno(result);
    let text = format!("{what}: {}", describe(got));
    ensure!(want.contains(&got), "{text}");
    Ok(text)
}

/// The one line that loading leaves.
fn load_line(host: &mut Host, params: &str) -> Result<String> {
    host.reach(State::Absent)?;
    let mut log = Kmsg::from_now()?;
    host.reload(params)?;
    // The kernel itself says once that it is tainted, with the same prefix.
    let own = |l: &str| {
        l.strip_prefix("kvm_exitprof: ")
            .filter(|l| !l.contains("taints kernel"))
            .map(str::to_owned)
    };
    let lines = log.collect(2, Duration::from_secs(1), own)?;
    ensure!(lines.len() == 1, "not one line but {lines:?}");
    Ok(lines[0].clone())
}

fn line(host: &mut Host) -> Result<String> {
    load_line(host, "")
}

/// Who loads it so that guests read of each other is told.
fn scope_is_told(host: &mut Host) -> Result<String> {
    const LOADED: &str = "loaded: answering CPUID 0x4fffff00-0x4fffffff";
    const ADVICE: &str = "; every guest reads the counts of the whole host: scope=vm prevents that";
    for (params, advice) in [
        ("", ADVICE),
        ("scope=host per_vcpu=N", ADVICE),
        ("scope=vm", ""),
        ("scope=vcpu", ""),
        ("scope=off", ""),
    ] {
        let (got, want) = (load_line(host, params)?, format!("{LOADED}{advice}"));
        ensure!(got == want, "{params}: {got:?}, want {want:?}");
    }
    Ok("with scope=host only".into())
}

fn twice(host: &mut Host) -> Result<String> {
    let second = host.insert_profiler("");
    let text = refused("insmod", &second, &[libc::EEXIST, libc::EBUSY])?;
    still_counts()?;
    Ok(text)
}

fn on_unpatched(host: &mut Host) -> Result<String> {
    let text = refused("insmod", &host.insert_profiler(""), &[libc::ENOENT]);
    ensure!(!module::is_loaded(PROFILER), "loaded nevertheless");
    text
}

fn without_kvm(host: &mut Host) -> Result<String> {
    refused("insmod", &host.insert_profiler(""), &[libc::ENOENT])
}

/// Demands that the profiler counts, in a fresh guest.
pub fn still_counts() -> Result<()> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.cpuid(leaf::EXITS, HYPERCALL.number());
    program.repeat(Op::Vmcall, 23, 0);
    program.cpuid(leaf::EXITS, HYPERCALL.number());
    let answers = vm.run(&program)?;
    let got = exits(answers[1])? - exits(answers[0])?;
    ensure!(got == 23, "want 23 got {got}");
    Ok(())
}

fn before_vendor(host: &mut Host) -> Result<String> {
    host.forget();
    host.load_kvm(true)?;
    host.load_profiler("")?;
    host.load_vendor(true, "")?;
    still_counts()?;
    Ok(String::new())
}

fn from_zero(host: &mut Host) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 1009, 0);
    vm.run(&program)?;
    host.reload("")?;
    let got = exits(query(&mut vm, leaf::EXITS, HYPERCALL.number())?)?;
    ensure!(got == 0, "{got} exits from before");
    Ok(format!("want 0 got {got}"))
}

/// kvm.ko cannot go while the profiler, and nothing else, uses it.
fn kvm_in_use(host: &mut Host) -> Result<String> {
    host.forget();
    host.unload_vendor()?;
    let text = refused(
        "rmmod kvm",
        &remove_now("kvm"),
        &[libc::EAGAIN, libc::EBUSY],
    )?;
    host.load_vendor(true, "")?;
    still_counts()?;
    Ok(text)
}

fn vendor_reload(host: &mut Host) -> Result<String> {
    host.forget();
    for _ in 0..3 {
        host.unload_vendor()?;
        // With nobody there whose exits could be recorded.
        module::set_param(PROFILER, "recording", "N")?;
        module::set_param(PROFILER, "recording", "Y")?;
        host.load_vendor(true, "")?;
        still_counts()?;
    }
    Ok("3 times".into())
}
