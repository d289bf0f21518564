// SPDX-License-Identifier: GPL-2.0
//! A benchmark: the loop of a guest, timed in TSC ticks.
//!
//! The loop runs in batches, which yield two figures. The mean of all exits includes
//! the host's timer interrupts, and what a peer does to empty its buffers. Nothing
//! disturbs the cheapest batch.

use crate::oracle::leaf;
use crate::vmm::{Config, Op, Program, Vm, layout};
use anyhow::Result;

/// Exits per batch.
pub const BATCH: u32 = 20;
pub const ROUNDS: u32 = 3;

pub struct Benchmark {
    pub name: &'static str,
    pub op: Op,
    arg: u32,
    /// How far the argument moves from batch to batch.
    stride: u32,
    /// Whether it needs KVM's interrupt controllers.
    irqchip: bool,
    pub batches: u32,
}

pub const fn benchmark(name: &'static str, op: Op, arg: u32) -> Benchmark {
    Benchmark {
        name,
        op,
        arg,
        stride: 0,
        irqchip: false,
        batches: 250,
    }
}

pub const CPUID: Benchmark = benchmark("cpuid", Op::Cpuid, 0);
pub const ASK_TOTAL: Benchmark = benchmark("ask_total", Op::Cpuid, leaf::TOTAL_EXITS);
pub const ASK_REASON: Benchmark = benchmark("ask_reason", Op::Cpuid, leaf::EXITS);

pub const BENCHMARKS: [Benchmark; 10] = [
    CPUID,
    benchmark("vmcall", Op::Vmcall, 0),
    benchmark("rdmsr", Op::Rdmsr, 0x1b),
    Benchmark {
        irqchip: true,
        ..benchmark("out_kernel", Op::OutPic, 0)
    },
    benchmark("out_user", Op::Out, 0),
    // Without an interrupt controller KVM tells the VMM, which goes on at once.
    benchmark("hlt_user", Op::Hlt, 0),
    Benchmark {
        irqchip: true,
        ..benchmark("tsc_deadline", Op::WrmsrZero, 0x6e0)
    },
    // The host has the pages. KVM maps them, and sometimes allocates one for its
    // tables.
    Benchmark {
        stride: BATCH * layout::PAGE,
        batches: 100,
        ..benchmark("ept_violation", Op::Touch, layout::UNTOUCHED)
    },
    ASK_TOTAL,
    ASK_REASON,
];

/// Ticks per exit.
#[derive(Clone, Copy)]
pub struct Cost {
    pub mean: f64,
    pub least: f64,
}

impl Benchmark {
    pub fn program(&self) -> Program {
        let mut program = Program::new();
        program.tsc();
        for batch in 0..self.batches {
            program.repeat(self.op, BATCH, self.arg + batch * self.stride);
            program.tsc();
        }
        program
    }

    /// Measures in new VMs, which have not touched any page.
    pub fn measure(&self) -> Result<Cost> {
        let config = Config {
            irqchip: self.irqchip,
            populated: true,
            ..Config::default()
        };
        let program = self.program();
        let mut best = Cost {
            mean: f64::INFINITY,
            least: f64::INFINITY,
        };
        for _ in 0..ROUNDS {
            let times = Vm::new(&config)?.run(&program)?;
            let ticks = |[low, high, ..]: [u32; 4]| u64::from(high) << 32 | u64::from(low);
            let per = |ticks: u64, exits: u32| ticks as f64 / f64::from(exits);
            let whole = ticks(times[times.len() - 1]) - ticks(times[0]);
            let each = times.windows(2).map(|w| ticks(w[1]) - ticks(w[0]));
            let least = each.min().unwrap_or(u64::MAX);
            best.mean = best.mean.min(per(whole, BATCH * self.batches));
            best.least = best.least.min(per(least, BATCH));
        }
        Ok(best)
    }
}
