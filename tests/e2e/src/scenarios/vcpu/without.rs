// SPDX-License-Identifier: GPL-2.0
//! vCPUs without counters of their own.

use crate::host::debugfs::{ExitsTable, VcpusTable, vms};
use crate::host::module::{self, PROFILER};
use crate::host::{Doctored, Host, Kmsg, WITHOUT_VCPU_MEMORY};
use crate::oracle::log::{expected, expected_answer, query_line};
use crate::oracle::snapshot::TAKE;
use crate::oracle::{Oracle, leaf};
use crate::vmm::Vm;
use crate::vmm::cpu::HYPERCALL;
use anyhow::{Context, Result, ensure};

/// A vCPU for whose counters there is no memory runs nevertheless. Its exits are
/// unattributed, and a guest finds no profiler where it would read its own exits.
pub fn without_memory(host: &mut Host) -> Result<String> {
    let asked = [(leaf::DISCOVERY, 0), (leaf::TOTAL_EXITS, 0)];
    let absent = Vm::plain()?.cpuids(&asked)?;
    Doctored::new(host, &WITHOUT_VCPU_MEMORY)?.load("log=N")?;
    host.forget();
    let mut vm = Vm::plain()?;
    vm.hypercalls(23)?;
    let [eax, ..] = vm.cpuid(leaf::SNAPSHOT, TAKE)?;
    ensure!(eax == 0, "a snapshot without counters");
    let table = VcpusTable::read()?;
    table.check_sums()?;
    let want = vm.exits()?;
    ensure!(table.unattributed.0 == want, "want {want}: {table:?}");
    ensure!(table.vcpus.is_empty() && vms()?.is_empty(), "{table:?}");
    // The log cannot tell whose query it is.
    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let answer = vm.cpuid(leaf::TOTAL_EXITS, 0)?;
    let line = log.expect("line", query_line)?;
    let want_line = expected_answer(leaf::TOTAL_EXITS, 0, answer)?;
    let want_line = format!("{want_line} (a vCPU without a profile)");
    ensure!(line == want_line, "logged {line:?}, want {want_line:?}");
    module::set_param(PROFILER, "log", "N")?;
    for scope in ["vm", "vcpu"] {
        module::set_param(PROFILER, "scope", scope)?;
        let got = vm.cpuids(&asked)?;
        ensure!(got == absent, "scope={scope}: {got:x?}, want {absent:x?}");
    }
    drop(vm);
    host.unload_profiler()?;
    Ok(format!("{want} exits unattributed, as KVM's"))
}

/// With `per_vcpu=N`, the host's counters are the same.
pub fn not_wanted(host: &mut Host) -> Result<String> {
    host.reload("log=N per_vcpu=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut vm = Vm::with_vcpus(1)?;
    vm.hypercalls(23)?;
    let total = oracle.check(&[&vm])?;
    let dirs = vms()?;
    ensure!(dirs.is_empty(), "{dirs:?}");
    let got = ExitsTable::of_host()?.exits(HYPERCALL.number());
    ensure!(got == 23, "want 23 got {got}");
    let table = VcpusTable::read()?;
    table.check_sums()?;
    ensure!(table.vms.is_empty() && table.vcpus.is_empty(), "{table:?}");
    // The log tells who asks, nevertheless.
    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let answer = vm.cpuid(leaf::TOTAL_EXITS, 0)?;
    let line = log.expect("line", query_line)?;
    let want_line = expected(&vm, leaf::TOTAL_EXITS, 0, answer)?;
    ensure!(line == want_line, "logged {line:?}, want {want_line:?}");
    for scope in ["vm", "vcpu"] {
        let error = module::set_param(PROFILER, "scope", scope).err();
        let error = error.context("scope was set without counters of vCPUs")?;
        ensure!(format!("{error:#}").contains("nvalid"), "{error:#}");
        let insert = host.reload(&format!("per_vcpu=N scope={scope}"));
        ensure!(insert.is_err(), "loaded with scope={scope}");
        host.reload("log=N per_vcpu=N")?;
    }
    Ok(format!("want 23 got {got}, total {total} as KVM's"))
}
