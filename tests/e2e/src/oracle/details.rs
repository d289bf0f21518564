// SPDX-License-Identifier: GPL-2.0
//! What tells the exits of a vCPU apart.

use crate::host::debugfs::{Line, ProfileFile};
use crate::vmm::Vm;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// The exits of a detail, their cycles, and the error.
pub type Numbers = (u64, u64, u64);

/// The details of a vCPU: by the reason's number, the kind and the key.
pub struct Details(pub BTreeMap<(String, String, u64), Numbers>);

fn hex(line: &Line, key: &str) -> Result<u64> {
    let text = line.text(key)?;
    u64::from_str_radix(text, 16).with_context(|| format!("{key}={text}"))
}

fn numbers(line: &Line) -> Result<Numbers> {
    let (exits, cycles) = line.counted()?;
    Ok((exits, cycles, line.number("error")?))
}

impl Details {
    /// Those of a vCPU. No reason has more of them than exits.
    pub fn of(file: &ProfileFile, vm: &Vm, id: u32) -> Result<Self> {
        let mut all = BTreeMap::new();
        for line in file.of_vcpu("vcpu_detail", vm, id) {
            let text = |key| line.text(key).map(str::to_owned);
            let key = (text("reason")?, text("kind")?, hex(line, "key")?);
            let old = all.insert(key, numbers(line)?);
            ensure!(old.is_none(), "{line:?} twice");
        }
        let details = Self(all);
        for line in file.of_vcpu("vcpu", vm, id) {
            let (exits, cycles) = details.of_reason(line.text("reason")?);
            let all = line.counted()?;
            ensure!(
                exits <= all.0 && cycles <= all.1,
                "{line:?}, details have {exits} and {cycles}"
            );
        }
        Ok(details)
    }

    /// The sum of a reason.
    pub fn of_reason(&self, reason: &str) -> (u64, u64) {
        let own = self.0.iter().filter(|((other, ..), _)| other == reason);
        own.fold((0, 0), |sum, (_, (exits, cycles, _))| {
            (sum.0 + exits, sum.1 + cycles)
        })
    }

    /// The exits of a key.
    pub fn exits(&self, kind: &str, key: u64) -> u64 {
        let own = self
            .0
            .iter()
            .filter(|((_, other, k), _)| other == kind && *k == key);
        own.map(|(_, (exits, ..))| exits).sum()
    }

    /// All keys of a kind with their exits.
    pub fn keys(&self, kind: &str) -> BTreeMap<u64, u64> {
        let own = self.0.iter().filter(|((_, other, _), _)| other == kind);
        own.map(|((.., key), (exits, ..))| (*key, *exits)).collect()
    }
}

/// The places in a vCPU's guest: by the reason's number, RIP and CPL.
pub fn code(file: &ProfileFile, vm: &Vm, id: u32) -> Result<BTreeMap<(String, u64, u64), Numbers>> {
    let mut all = BTreeMap::new();
    for line in file.of_vcpu("vcpu_code", vm, id) {
        let key = (
            line.text("reason")?.to_owned(),
            hex(line, "rip")?,
            line.number("cpl")?,
        );
        let old = all.insert(key, numbers(line)?);
        ensure!(old.is_none(), "{line:?} twice");
    }
    Ok(all)
}
