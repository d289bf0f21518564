// SPDX-License-Identifier: GPL-2.0
//! What an exit costs: TSC ticks of a guest's loop, by workload and by what
//! is loaded, ours or a peer's.
//!
//! Under Bochs a tick is an instruction. The loop runs in batches, and two
//! figures come of it: the mean over all exits, which includes the host's
//! timer interrupts and what a peer does to empty its buffers, and the cheapest
//! batch, which nothing disturbed.

mod peers;
pub mod scale;

use crate::harness::ktap::Ktap;
use crate::host::module::{Host, State};
use crate::oracle::leaf;
use crate::vmm::cpu;
use crate::vmm::guest::{Program, layout};
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vm};
use anyhow::{Context, Result, ensure};
use peers::Peer;

/// Exits per batch.
const BATCH: u32 = 20;
const ROUNDS: u32 = 3;

struct Workload {
    name: &'static str,
    op: Op,
    arg: u32,
    /// How far the argument moves from batch to batch.
    stride: u32,
    /// Whether it needs KVM's interrupt controllers.
    irqchip: bool,
    batches: u32,
}

const fn workload(name: &'static str, op: Op, arg: u32) -> Workload {
    Workload {
        name,
        op,
        arg,
        stride: 0,
        irqchip: false,
        batches: 250,
    }
}

const CPUID: Workload = workload("cpuid", Op::Cpuid, 0);
const ASK_TOTAL: Workload = workload("ask_total", Op::Cpuid, leaf::TOTAL_EXITS);
const ASK_REASON: Workload = workload("ask_reason", Op::Cpuid, leaf::EXITS);

const WORKLOADS: [Workload; 10] = [
    CPUID,
    workload("vmcall", Op::Vmcall, 0),
    workload("rdmsr", Op::Rdmsr, 0x1b),
    Workload {
        irqchip: true,
        ..workload("out_kernel", Op::OutPic, 0)
    },
    workload("out_user", Op::Out, 0),
    // Without an interrupt controller the VMM is told, and goes on at once.
    workload("hlt_user", Op::Hlt, 0),
    Workload {
        irqchip: true,
        ..workload("tsc_deadline", Op::WrmsrZero, 0x6e0)
    },
    // The host has the pages; KVM maps them, and now and then takes a page for
    // its tables.
    Workload {
        stride: BATCH * layout::PAGE,
        batches: 100,
        ..workload("ept_violation", Op::Touch, layout::UNTOUCHED)
    },
    ASK_TOTAL,
    ASK_REASON,
];

/// A way to set the host up, and what then runs beside the guest.
type Setup = fn(&mut Host) -> Result<Option<Peer>>;

/// The first is what all others are compared with.
const SETUPS: [(&str, Setup); 12] = [
    ("unpatched", |host| reach(host, State::Unpatched)),
    ("absent", |host| reach(host, State::Absent)),
    ("recording_off", |host| load(host, "recording=N")),
    ("loaded", |host| load(host, "per_vcpu=N histograms=N")),
    ("per_vcpu", |host| load(host, "histograms=N")),
    ("histograms", |host| load(host, "")),
    ("naive", |host| {
        host.unload_all()?;
        host.forget();
        // Laid out like the other directory, with the naive KVM as unpatched.
        reach(&mut Host::new("/modules/naive".as_ref())?, State::Unpatched)
    }),
    ("c_probe", |host| {
        reach(host, State::Unpatched)?;
        peers::probe().map(Some)
    }),
    ("bpf", |host| {
        reach(host, State::Unpatched)?;
        peers::bpf().map(Some)
    }),
    ("trace_exit", |host| {
        reach(host, State::Unpatched)?;
        peers::tracepoints(&["kvm_exit"]).map(Some)
    }),
    ("trace_both", |host| {
        reach(host, State::Unpatched)?;
        peers::tracepoints(&["kvm_exit", "kvm_entry"]).map(Some)
    }),
    ("perf_kvm_stat", |host| {
        reach(host, State::Unpatched)?;
        peers::perf().map(Some)
    }),
];

/// Whether a setup is possible here: some know the innards of VMX.
fn possible(setup: &str) -> bool {
    cpu::is_vmx() || !["naive", "c_probe", "bpf"].contains(&setup)
}

fn reach(host: &mut Host, state: State) -> Result<Option<Peer>> {
    host.reach(state)?;
    Ok(None)
}

/// Without the log, whose lines would be most of what a query costs.
fn load(host: &mut Host, params: &str) -> Result<Option<Peer>> {
    host.reload(&format!("log=N {params}"))?;
    Ok(None)
}

/// Ticks per exit.
#[derive(Clone, Copy)]
struct Cost {
    mean: f64,
    least: f64,
}

/// Measures everything, or the setups in `names`, and prints lines for programs:
/// `cost WORKLOAD SETUP MEAN LEAST`.
pub fn run(host: &mut Host, ktap: &mut Ktap, names: &[String]) -> Result<()> {
    let chosen = |setup: &str| names.is_empty() || names.iter().any(|n| n == setup);
    for (setup, set_up) in SETUPS.into_iter().filter(|(setup, _)| chosen(setup)) {
        if !possible(setup) {
            ktap.note(&format!("{setup}: left out, for it is for VMX only"));
            continue;
        }
        let peer = set_up(host).with_context(|| setup.to_owned())?;
        for workload in &WORKLOADS {
            let name = workload.name;
            let Cost { mean, least } = workload.measure().context(name)?;
            ktap.line(&format!("cost {name} {setup} {mean:.2} {least:.2}"));
        }
        if let Some(peer) = peer {
            let due = |w: &Workload| u64::from(ROUNDS * w.batches * BATCH) * peer.records_of(w.op);
            let due: u64 = WORKLOADS.iter().map(due).sum();
            let recorded = peer.finish().context(setup)?;
            ktap.note(&format!("{setup}: {recorded} records, at least {due} due"));
            ensure!(recorded >= due, "{setup} recorded too little");
        }
    }
    host.unload_all()
}

impl Workload {
    fn program(&self) -> Program {
        let mut program = Program::new();
        program.tsc();
        for batch in 0..self.batches {
            program.repeat(self.op, BATCH, self.arg + batch * self.stride);
            program.tsc();
        }
        program
    }

    /// In a VM of its own each time, for it to have touched nothing.
    fn measure(&self) -> Result<Cost> {
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
