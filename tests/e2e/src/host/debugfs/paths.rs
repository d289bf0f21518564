// SPDX-License-Identifier: GPL-2.0
//! The profiler's directories, and KVM's, after which they are named.

use crate::vmm::Vm;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Exits and cycles.
pub type Counted = (u64, u64);

const KVM: &str = "/sys/kernel/debug/kvm";
/// The profiler's directory.
pub const PROFILER: &str = "/sys/kernel/debug/kvm_exitprof";

/// KVM's directory of the VM.
pub fn kvm_dir(vm: &Vm) -> PathBuf {
    Path::new(KVM).join(vm.name())
}

/// The profiler's directory of the VM.
pub fn vm_dir(vm: &Vm) -> PathBuf {
    Path::new(PROFILER).join(vm.name())
}

/// The profiler's directory of the VM's vCPU with that index.
pub fn vcpu_dir(vm: &Vm, index: usize) -> PathBuf {
    vm_dir(vm).join(format!("vcpu{}", vm.vcpus[index].id()))
}

/// The names of the profiler's directories of VMs, sorted.
pub fn vms() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(PROFILER).context(PROFILER)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
