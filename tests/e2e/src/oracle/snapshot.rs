// SPDX-License-Identifier: GPL-2.0
//! A vCPU's snapshot: commands, and the leaves that answer from it.

use super::leaf;
use crate::vmm::cpu::HYPERCALL;
use crate::vmm::{GARBAGE, Query, Regs, Vcpu};
use anyhow::{Result, ensure};

// Subleaves of leaf E0.
pub const RELEASE: u32 = 0;
pub const TAKE: u32 = 1;
pub const TELL: u32 = 2;

/// Gives a command. Returns whether the vCPU holds a snapshot then, and how many it has
/// taken.
pub fn command(vcpu: &mut Vcpu, subleaf: u32) -> Result<(bool, u32)> {
    leaf::snapshot(vcpu.cpuid(leaf::SNAPSHOT, subleaf)?)
}

/// The live leaf that answers what `leaf` answers from a snapshot, if it does.
pub fn live(leaf: u32) -> Option<u32> {
    match leaf {
        0x4fff_ffe2 | 0x4fff_ffe4..=0x4fff_ffe6 => Some(leaf - 0xe0),
        0x4fff_ffec..=0x4fff_ffef => Some(leaf + 0x10),
        _ => None,
    }
}

/// Queries of all leaves that answer from a snapshot.
pub fn queries() -> [Query; 7] {
    let reason = HYPERCALL.number();
    [
        (0x4fff_ffe2, GARBAGE),
        (0x4fff_ffe4, GARBAGE),
        (0x4fff_ffe5, reason),
        (0x4fff_ffec, GARBAGE),
        (0x4fff_ffed, GARBAGE),
        (0x4fff_ffee, reason),
        (0x4fff_ffef, reason),
    ]
}

/// Checks that none of these leaves answers.
pub fn check_none(vcpu: &mut Vcpu) -> Result<()> {
    let queries = queries();
    for (asked, got) in queries.iter().zip(vcpu.cpuids(&queries)?) {
        ensure!(got == leaf::UNDEFINED, "{asked:x?} answers {got:x?}");
    }
    Ok(())
}

/// What a guest knows of its vCPU's snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub held: bool,
    taken: u32,
}

impl Held {
    /// Checks the answer to a command.
    pub fn follow(&mut self, command: u32, got: Regs) -> Result<()> {
        let (held, taken) = leaf::snapshot(got)?;
        let want = match command {
            RELEASE => (false, self.taken),
            TAKE => (true, self.taken.wrapping_add(1)),
            _ => (self.held, self.taken),
        };
        ensure!((held, taken) == want, "want {want:?}, before {self:?}");
        *self = Self { held, taken };
        Ok(())
    }
}
