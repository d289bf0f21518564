// SPDX-License-Identifier: GPL-2.0
//! Whose exits they are.

use crate::host::debugfs::{ExitsTable, VcpusTable, kvm_dir, vcpu_dir, vm_dir, vms};
use crate::vmm::Vm;
use anyhow::{Result, ensure};

/// Checks that the profiler's files have what KVM's own statistic has for each vCPU and
/// each VM. `all` are all VMs that exist, and began after the profiler. Returns the
/// file `vcpus`.
pub fn check_attribution(all: &[&Vm]) -> Result<VcpusTable> {
    let table = VcpusTable::read()?;
    table.check_sums()?;
    let mut names: Vec<_> = all.iter().map(|vm| vm.name()).collect();
    names.sort();
    let dirs = vms()?;
    ensure!(dirs == names, "directories {dirs:?}, VMs {names:?}");
    let rows: Vec<_> = table.vms.keys().cloned().collect();
    ensure!(rows == names, "rows {rows:?}, VMs {names:?}");
    for vm in all {
        let dir = kvm_dir(vm);
        ensure!(dir.is_dir(), "KVM has no {}", dir.display());
        for (index, vcpu) in vm.vcpus.iter().enumerate() {
            let want = vcpu.exits()?;
            let got = ExitsTable::read(&vcpu_dir(vm, index))?.total;
            ensure!(got.0 == want, "want {want} got {got:?}");
            let row = table.vcpus.get(&(vm.name(), vcpu.id()));
            ensure!(row == Some(&got), "file {got:?}, row {row:?}");
        }
        let (want, got) = (vm.exits()?, ExitsTable::read(&vm_dir(vm))?.total);
        ensure!(got.0 == want, "want {want} got {got:?}");
        let row = table.vms.get(&vm.name());
        ensure!(row == Some(&got), "file {got:?}, row {row:?}");
    }
    let host = ExitsTable::of_host()?.total;
    ensure!(
        host == table.total,
        "host {host:?}, table {:?}",
        table.total
    );
    Ok(table)
}
