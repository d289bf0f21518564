// SPDX-License-Identifier: GPL-2.0
//! The file `vcpus`: a table by VM and vCPU.

use super::paths::{Counted, PROFILER};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;

/// The file `vcpus`.
#[derive(Debug)]
pub struct VcpusTable {
    /// By the VM's name and the vCPU's number.
    pub vcpus: BTreeMap<(String, u32), Counted>,
    pub vms: BTreeMap<String, Counted>,
    pub ended: Counted,
    pub unattributed: Counted,
    pub total: Counted,
}

impl VcpusTable {
    pub fn read() -> Result<Self> {
        let path = format!("{PROFILER}/vcpus");
        Self::parse(&fs::read_to_string(&path).context(path)?)
    }

    /// Parses such a table. The vCPUs' rows must add up to their VM's.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut vcpus, mut vms, mut others) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let sample = |exits: &str, cycles: &str| -> Result<Counted> {
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

    /// Checks that the rows add up to the total, as they do while nothing runs.
    pub fn check_sums(&self) -> Result<()> {
        let all = self.vms.values().fold((0, 0), |sum, &vm| add(sum, vm));
        let sum = add(add(all, self.ended), self.unattributed);
        ensure!(sum == self.total, "the rows are {sum:?}: {self:?}");
        Ok(())
    }
}

fn add(a: Counted, b: Counted) -> Counted {
    (a.0 + b.0, a.1 + b.1)
}
