// SPDX-License-Identifier: GPL-2.0
//! What an exit costs: TSC ticks of a guest's loop, by workload and by what
//! is loaded.
//!
//! Under Bochs a tick is an instruction. The loop runs in batches, and two
//! figures come of it: the mean over all exits, which includes the host's
//! timer interrupts, and the cheapest batch, which none disturbed.

use crate::guest::Program;
use crate::ktap::Ktap;
use crate::leaf;
use crate::module::{self, Host, PROFILER, State};
use crate::ops::Op;
use crate::vm::{Config, Vm};
use anyhow::{Context, Result};

/// Exits per batch.
const BATCH: u32 = 20;
const ROUNDS: usize = 3;

/// Name, operation with its argument, whether it needs an APIC, and batches:
/// 20,000 exits where nothing is asked of the profiler, for it takes longer.
const WORKLOADS: [(&str, Op, u32, bool, u32); 7] = [
    ("cpuid", Op::Cpuid, 0, false, 1000),
    ("vmcall", Op::Vmcall, 0, false, 1000),
    ("out", Op::Out, 0, false, 1000),
    ("rdmsr", Op::Rdmsr, 0x1b, false, 1000),
    ("tsc_deadline", Op::WrmsrZero, 0x6e0, true, 1000),
    ("ask_total", Op::Cpuid, leaf::TOTAL_EXITS, false, 50),
    ("ask_reason", Op::Cpuid, leaf::EXITS, false, 50),
];

/// A way to set the host up.
type Setup = fn(&mut Host) -> Result<()>;

const SETUPS: [(&str, Setup); 4] = [
    ("unpatched", |host| host.reach(State::Unpatched)),
    ("absent", |host| host.reach(State::Absent)),
    ("sampling_off", |host| {
        host.reach(State::Profiled)?;
        module::set_param(PROFILER, "sampling", "N")
    }),
    ("loaded", |host| {
        host.reach(State::Profiled)?;
        module::set_param(PROFILER, "sampling", "Y")
    }),
];

/// Ticks per exit.
#[derive(Clone, Copy)]
struct Cost {
    mean: f64,
    least: f64,
}

/// Measures everything and prints a table, then lines for programs: `cost
/// WORKLOAD SETUP MEAN LEAST`.
pub fn run(host: &mut Host, ktap: &mut Ktap) -> Result<()> {
    let mut rows = WORKLOADS.map(|_| Vec::new());
    for (name, set_up) in SETUPS {
        set_up(host).with_context(|| name.to_owned())?;
        for ((_, op, arg, irqchip, batches), row) in WORKLOADS.into_iter().zip(&mut rows) {
            row.push(measure(op, arg, irqchip, batches)?);
        }
    }
    host.unload_all()?;

    ktap.line(&format!("# ticks per exit, best of {ROUNDS} runs"));
    let names = SETUPS.map(|(name, _)| format!("{name:>13}")).concat();
    for (title, pick) in [
        ("mean", (|c| c.mean) as fn(Cost) -> f64),
        ("least", |c| c.least),
    ] {
        ktap.line(&format!("# {title:<13}{names}"));
        for ((name, ..), row) in WORKLOADS.iter().zip(&rows) {
            let cell = |&cost: &Cost| format!("{:>13.2}", pick(cost));
            let cells: String = row.iter().map(cell).collect();
            ktap.line(&format!("# {name:<13}{cells}"));
        }
    }
    for ((name, ..), row) in WORKLOADS.iter().zip(&rows) {
        for ((setup, _), cost) in SETUPS.iter().zip(row) {
            let Cost { mean, least } = cost;
            ktap.line(&format!("cost {name} {setup} {mean:.2} {least:.2}"));
        }
    }
    Ok(())
}

fn measure(op: Op, arg: u32, irqchip: bool, batches: u32) -> Result<Cost> {
    let mut vm = Vm::new(&Config {
        irqchip,
        ..Config::default()
    })?;
    let mut program = Program::new();
    program.tsc();
    for _ in 0..batches {
        program.repeat(op, BATCH, arg);
        program.tsc();
    }
    let mut best = Cost {
        mean: f64::INFINITY,
        least: f64::INFINITY,
    };
    for _ in 0..ROUNDS {
        let times = vm.run(&program)?;
        let ticks = |[low, high, ..]: [u32; 4]| u64::from(high) << 32 | u64::from(low);
        let per = |ticks: u64, exits: u32| ticks as f64 / f64::from(exits);
        let whole = ticks(times[times.len() - 1]) - ticks(times[0]);
        let each = times.windows(2).map(|w| ticks(w[1]) - ticks(w[0]));
        let least = each.min().unwrap_or(u64::MAX);
        best.mean = best.mean.min(per(whole, BATCH * batches));
        best.least = best.least.min(per(least, BATCH));
    }
    Ok(best)
}
