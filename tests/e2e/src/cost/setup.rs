// SPDX-License-Identifier: GPL-2.0
//! Setups of the host: KVM, the profiler, or a peer.

use super::peers::{self, Peer};
use crate::host::{Host, State};
use crate::vmm::cpu;
use anyhow::Result;

/// Sets the host up, and returns the peer that then runs beside the guest.
type Setup = fn(&mut Host) -> Result<Option<Peer>>;

/// All setups. The first is what the others are compared with.
pub const SETUPS: [(&str, Setup); 15] = [
    ("unpatched", |host| reach(host, State::Unpatched)),
    ("absent", |host| reach(host, State::Absent)),
    ("recording_off", |host| load(host, "recording=N")),
    ("loaded", |host| load(host, "per_vcpu=N histograms=N")),
    ("per_vcpu", |host| load(host, "histograms=N")),
    ("histograms", |host| load(host, "")),
    ("phases", |host| load(host, "phases=Y")),
    ("details", |host| load(host, "details=all")),
    ("shared_atomics", |host| {
        host.unload_all()?;
        host.forget();
        // Laid out like the other directory, with this KVM as the unpatched one.
        let dir = "/modules/shared_atomics".as_ref();
        reach(&mut Host::new(dir)?, State::Unpatched)
    }),
    ("c_probe", |host| {
        reach(host, State::Unpatched)?;
        peers::probe().map(Some)
    }),
    ("bpf", |host| {
        reach(host, State::Unpatched)?;
        peers::bpf().map(Some)
    }),
    ("exitprof_bpf", |host| {
        reach(host, State::Unpatched)?;
        peers::exitprof().map(Some)
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

/// Whether a setup is possible here. Some need VMX.
pub fn possible(setup: &str) -> bool {
    cpu::is_vmx() || !["shared_atomics", "c_probe", "bpf"].contains(&setup)
}

fn reach(host: &mut Host, state: State) -> Result<Option<Peer>> {
    host.reach(state)?;
    Ok(None)
}

/// Loads the profiler without its log, whose lines would be most of a query's cost.
fn load(host: &mut Host, params: &str) -> Result<Option<Peer>> {
    host.reload(&format!("log=N {params}"))?;
    Ok(None)
}
