// SPDX-License-Identifier: GPL-2.0
//! Loading the profiler: in every order, refused or not.

use crate::harness::Test;
use crate::host::module::{self, PROFILER, describe, errno};
use crate::host::{Host, Kmsg, State};
use crate::oracle::growth::still_counts;
use crate::oracle::leaf::exits_of;
use crate::oracle::log::ours;
use crate::vmm::Vm;
use crate::vmm::cpu::HYPERCALL;
use anyhow::{Result, ensure};
use std::io;
use std::time::Duration;

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("load.line", State::Absent, line),
        Test::new("load.scope_is_told", State::Absent, scope_is_told),
        Test::new("load.twice", State::Profiled, twice),
        Test::new("load.on_unpatched_kvm", State::Unpatched, on_unpatched),
        Test::new("load.without_kvm", State::Nothing, without_kvm),
        Test::new("load.before_vendor", State::Nothing, before_vendor),
        Test::new("load.starts_from_zero", State::Profiled, from_zero),
    ]
}

/// Checks that loading failed with one of `want`.
fn refused(result: &io::Result<()>, want: &[i32]) -> Result<String> {
    let got = errno(result);
    let text = format!("insmod: {}", describe(got));
    ensure!(want.contains(&got), "{text}");
    Ok(text)
}

/// The line that loading leaves in the log, without its prefix. There must be only one.
fn load_line(host: &mut Host, params: &str) -> Result<String> {
    host.reach(State::Absent)?;
    let mut log = Kmsg::from_now()?;
    host.reload(params)?;
    // The kernel itself says once that it is tainted, with the same prefix.
    let own = |line: &str| {
        ours(line)
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

/// The line warns where guests can read about each other.
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
    let text = refused(&second, &[libc::EEXIST, libc::EBUSY])?;
    still_counts()?;
    Ok(text)
}

fn on_unpatched(host: &mut Host) -> Result<String> {
    let text = refused(&host.insert_profiler(""), &[libc::ENOENT]);
    ensure!(!module::is_loaded(PROFILER), "loaded nevertheless");
    text
}

fn without_kvm(host: &mut Host) -> Result<String> {
    refused(&host.insert_profiler(""), &[libc::ENOENT])
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
    vm.hypercalls(1009)?;
    host.reload("")?;
    let got = exits_of(&mut vm, HYPERCALL.number())?;
    ensure!(got == 0, "{got} exits from before");
    Ok(format!("want 0 got {got}"))
}
