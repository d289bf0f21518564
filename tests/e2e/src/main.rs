// SPDX-License-Identifier: GPL-2.0
//! End-to-end tests of kvm-exitprof, run as root on the emulated host.
//!
//! ```text
//! e2e [test|soak|cost|scale|probe] [--out FILE] [--modules DIR] [--seed N]
//!     [NAME...]
//! e2e list vmx|svm
//! ```
//!
//! - `test` runs all tests, or those whose names begin with a NAME.
//! - `soak` does so for much longer, with another seed every time.
//! - `cost` measures what an exit costs, with all setups, or those named.
//! - `scale` measures how that cost grows with CPUs.
//! - `probe` shows how many exits each workload causes by KVM's own statistic and its
//!   tracepoint, which needs no profiler.
//! - `list` prints the names of all tests of CPUs with VMX, or with SVM, on any machine.
//!
//! The results go to FILE, by default /dev/ttyS1. N is the seed of random numbers. DIR,
//! by default /modules, holds `unpatched/` and `patched/`, each with kvm.ko and
//! kvm-intel.ko or kvm-amd.ko. Beside them are kvm_exitprof.ko, and `needed/` with the
//! modules that KVM and the tests need besides, in any order.
//!
//! As process 1 of a machine, the program mounts the file systems that it needs, takes
//! its arguments from the kernel's command line after `--`, and powers the machine off
//! at the end.

mod cost;
mod harness;
mod host;
mod oracle;
mod scenarios;
mod vmm;

use anyhow::{Result, bail, ensure};
use harness::{Effort, Ktap, effort, init, runner};
use host::{Host, cpus, tenant};
use oracle::probe;
use profile::isa::Isa;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use vmm::cpu;

struct Options {
    mode: String,
    out: PathBuf,
    modules: PathBuf,
    seed: Option<u64>,
    names: Vec<String>,
}

fn options() -> Result<Options> {
    let mut options = Options {
        mode: "test".into(),
        out: "/dev/ttyS1".into(),
        modules: "/modules".into(),
        seed: None,
        names: Vec::new(),
    };
    let mut args = if init::is_init() {
        init::arguments()
    } else {
        std::env::args().skip(1).collect()
    }
    .into_iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_default();
        match arg.as_str() {
            "--out" => options.out = value().into(),
            "--modules" => options.modules = value().into(),
            "--seed" => options.seed = Some(effort::seed(&value())?),
            "test" | "soak" | "cost" | "scale" | "probe" | "list" => options.mode = arg,
            _ => {
                ensure!(!arg.starts_with('-'), "unknown option {arg}");
                options.names.push(arg);
            }
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    if tenant::is_tenant() {
        return ExitCode::from(u8::from(tenant::serve().is_err()));
    }
    if init::is_init() {
        init::mount_all();
    }
    let ok = catch_unwind(|| match options().and_then(|o| run(&o)) {
        Ok(ok) => ok,
        Err(e) => {
            eprintln!("e2e: {e:#}");
            false
        }
    });
    if init::is_init() {
        init::power_off();
    }
    ExitCode::from(u8::from(!ok.unwrap_or(false)))
}

fn run(options: &Options) -> Result<bool> {
    if options.mode == "list" {
        return list(&options.names);
    }
    let mut ktap = Ktap::open(&options.out)?;
    cpus::calibrated()?;
    cpus::pin(0, &cpus::usable()?)?;
    let mut host = Host::new(&options.modules)?;
    let done = match options.mode.as_str() {
        "cost" => cost::exits::run(&mut host, &mut ktap, &options.names),
        "scale" => cost::scale::run(&mut host, &mut ktap),
        "probe" => {
            probe::run(&mut host, &mut ktap);
            Ok(())
        }
        mode @ ("test" | "soak") => {
            let effort = match mode {
                "test" => Effort::test(options.seed),
                _ => Effort::soak(options.seed),
            };
            let mut tests = scenarios::all(effort);
            let names = &options.names;
            tests.retain(|test| names.is_empty() || names.iter().any(|n| test.name.starts_with(n)));
            ensure!(!tests.is_empty(), "no test has such a name");
            return runner::run(&tests, &mut host, ktap);
        }
        mode => bail!("unknown mode {mode}"),
    };
    match &done {
        Ok(()) => ktap.line("complete"),
        Err(e) => ktap.note(&format!("{e:#}")),
    }
    Ok(done.is_ok())
}

/// Prints the names of the tests of an instruction set.
fn list(isa: &[String]) -> Result<bool> {
    cpu::assume(match isa {
        [isa] if isa == "vmx" => Isa::Vmx,
        [isa] if isa == "svm" => Isa::Svm,
        _ => bail!("list vmx, or list svm"),
    });
    for test in scenarios::all(Effort::test(None)) {
        println!("{}", test.name);
    }
    Ok(true)
}
