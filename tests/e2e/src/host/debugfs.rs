// SPDX-License-Identifier: GPL-2.0
//! The profiler's tables, and KVM's directories that theirs are named after.

use crate::vmm::vm::Vm;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const KVM: &str = "/sys/kernel/debug/kvm";
/// The profiler's directory.
pub const PROFILER: &str = "/sys/kernel/debug/kvm_exitprof";

/// Exits and cycles.
pub type Sample = (u64, u64);

/// Where KVM's debugfs has the VM.
pub fn kvm_dir(vm: &Vm) -> PathBuf {
    Path::new(KVM).join(vm.name())
}

/// Where the profiler's debugfs has the VM.
pub fn vm_dir(vm: &Vm) -> PathBuf {
    Path::new(PROFILER).join(vm.name())
}

/// Where it has the VM's vCPU of that index.
pub fn vcpu_dir(vm: &Vm, index: usize) -> PathBuf {
    vm_dir(vm).join(format!("vcpu{}", vm.vcpus[index].id()))
}

/// The directories of VMs, in order.
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

/// A table by reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Reasons {
    /// By the number as it stands there, or "other".
    pub rows: BTreeMap<String, Sample>,
    pub total: Sample,
}

impl Reasons {
    /// That of the host.
    pub fn of_host() -> Result<Self> {
        Self::read(Path::new(PROFILER))
    }

    /// That in a directory, whose rows must make up its total.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("exits");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        ensure!(head.trim_start().starts_with("reason"), "no head: {text}");
        let mut rows = BTreeMap::new();
        let mut sum = (0, 0);
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            let [first, .., exits, cycles] = words[..] else {
                bail!("not a row: {line}");
            };
            let sample = (exits.parse::<u64>()?, cycles.parse::<u64>()?);
            if first == "total" {
                ensure!(sample == sum, "the rows are {sum:?}, {line}");
                return Ok(Self { rows, total: sum });
            }
            sum = (sum.0 + sample.0, sum.1 + sample.1);
            rows.insert(first.to_owned(), sample);
        }
        bail!("no total: {text}")
    }

    /// The exits of a reason.
    pub fn exits(&self, reason: u32) -> u64 {
        let number = |name: &str| match name.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => name.parse().ok(),
        };
        let mut rows = self.rows.iter();
        let row = rows.find(|(name, _)| number(name) == Some(reason));
        row.map_or(0, |(_, &(exits, _))| exits)
    }
}

/// The table by vCPU.
#[derive(Debug)]
pub struct Vcpus {
    /// By name of the VM and number of the vCPU.
    pub vcpus: BTreeMap<(String, u32), Sample>,
    pub vms: BTreeMap<String, Sample>,
    pub ended: Sample,
    pub unattributed: Sample,
    pub total: Sample,
}

impl Vcpus {
    /// As the file has it.
    pub fn read() -> Result<Self> {
        let path = format!("{PROFILER}/vcpus");
        Self::parse(&fs::read_to_string(&path).context(path)?)
    }

    /// As the text has it, whose rows must make up each VM, and the total.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut vcpus, mut vms, mut others) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let sample = |exits: &str, cycles: &str| -> Result<Sample> {
                Ok((exits.parse()?, cycles.parse()?))
            };
            match words[..] {
                [name, exits, cycles] => drop(others.insert(name, sample(exits, cycles)?)),
                [vm, "all", exits, cycles] => {
                    vms.insert(vm.to_owned(), sample(exits, cycles)?);
                }
                [vm, vcpu, exits, cycles] => {
                    let old = vcpus.insert((vm.to_owned(), vcpu.parse()?), sample(exits, cycles)?);
                    ensure!(old.is_none(), "{line}: twice");
                }
                _ => bail!("not a row: {line}"),
            }
        }
        let other = |name| {
            others
                .get(name)
                .copied()
                .with_context(|| format!("no {name}"))
        };
        let table = Self {
            ended: other("ended")?,
            unattributed: other("unattributed")?,
            total: other("total")?,
            vcpus,
            vms,
        };
        for (vm, &all) in &table.vms {
            let own = table.vcpus.iter().filter(|((of, _), _)| of == vm);
            let sum = own.fold((0, 0), |sum, (_, &sample)| add(sum, sample));
            ensure!(sum == all, "{vm}: {all:?}, its vCPUs {sum:?}");
        }
        Ok(table)
    }

    /// Demands that all rows make up the total, as they do while nothing runs.
    pub fn add_up(&self) -> Result<()> {
        let all = self.vms.values().fold((0, 0), |sum, &vm| add(sum, vm));
        let sum = add(add(all, self.ended), self.unattributed);
        ensure!(sum == self.total, "the rows are {sum:?}: {self:?}");
        Ok(())
    }
}

fn add(a: Sample, b: Sample) -> Sample {
    (a.0 + b.0, a.1 + b.1)
}
