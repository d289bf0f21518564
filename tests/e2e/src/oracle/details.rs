// SPDX-License-Identifier: GPL-2.0
//! What tells the exits of a vCPU apart.

use crate::host::debugfs::{Line, ProfileFile};
use crate::vmm::Vm;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// The exits of a detail, their cycles, and the error.
pub type Numbers = (u64, u64, u64);

/// The reason's number, the kind, the level of the guest, and the key.
pub type Detail = (String, String, u64, u64);

/// The details of a vCPU.
pub struct Details(pub BTreeMap<Detail, Numbers>);

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
            let level = line.number("level")?;
            let key = (text("reason")?, text("kind")?, level, hex(line, "key")?);
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

    /// The exits of a key, from guests of level 1 and of level 2.
    pub fn of_levels(&self, kind: &str, key: u64) -> [u64; 2] {
        [1, 2].map(|level| {
            let own = (self.0.iter())
                .filter(|((_, other, l, k), _)| (&**other, *l, *k) == (kind, level, key));
            own.map(|(_, (exits, ..))| exits).sum()
        })
    }

    /// The exits of a key.
    pub fn exits(&self, kind: &str, key: u64) -> u64 {
        self.of_levels(kind, key).iter().sum()
    }

    /// Whether a key has lost its entry to another.
    pub fn has_lost(&self, kind: &str) -> bool {
        let mut own = self.0.iter().filter(|((_, other, ..), _)| other == kind);
        own.any(|(_, (.., error))| *error > 0)
    }

    /// All keys of a kind with their exits. Guests have no guests.
    pub fn keys(&self, kind: &str) -> BTreeMap<u64, u64> {
        let own = self.0.iter().filter(|((_, other, ..), _)| other == kind);
        own.map(|((.., key), (exits, ..))| (*key, *exits)).collect()
    }
}

/// The reason's number, the level of the guest, RIP and CPL.
pub type Place = (String, u64, u64, u64);

/// The places in a vCPU's guest.
pub fn code(file: &ProfileFile, vm: &Vm, id: u32) -> Result<BTreeMap<Place, Numbers>> {
    let mut all = BTreeMap::new();
    for line in file.of_vcpu("vcpu_code", vm, id) {
        let key = (
            line.text("reason")?.to_owned(),
            line.number("level")?,
            hex(line, "rip")?,
            line.number("cpl")?,
        );
        let old = all.insert(key, numbers(line)?);
        ensure!(old.is_none(), "{line:?} twice");
    }
    Ok(all)
}
