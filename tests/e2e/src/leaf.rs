// SPDX-License-Identifier: GPL-2.0
//! Reading leaves in a guest, and what the tests demand of every answer.
//!
//! Decoding is written out here and not taken from the model, which is what
//! the module answers with: a mistake in it must not cancel out.

use crate::guest::{Program, Regs};
use crate::vm::Vm;
use anyhow::{Result, bail, ensure};
pub use kvm_exitprof::profile::leaf::{
    CYCLES, DISCOVERY, EXITS, HIDDEN, PROTOCOL, TOTAL_CYCLES, TOTAL_EXITS,
};

/// The signature that says the profiler is there.
pub const PRESENT: Regs = [0x4fff_ffff, text(b"KVME"), text(b"xitP"), text(b"rof\0")];
/// The answer for a reason that the SDM does not define.
pub const UNDEFINED: Regs = [0, 0, 0, u32::MAX];

const fn text(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes)
}

/// A number of exits: leaves FC and FE.
pub fn exits([eax, ebx, ecx, edx]: Regs) -> Result<u64> {
    ensure!(
        ecx == 0 && edx == 0,
        "ECX={ecx:#x} EDX={edx:#x}, want zeros"
    );
    Ok(u64::from(ebx) << 32 | u64::from(eax))
}

/// A number of cycles: leaves FD and FF.
pub fn cycles([eax, ebx, ecx, edx]: Regs) -> Result<u64> {
    ensure!(
        eax == 0 && edx == 0,
        "EAX={eax:#x} EDX={edx:#x}, want zeros"
    );
    Ok(u64::from(ebx) << 32 | u64::from(ecx))
}

/// Exits and cycles: leaf 02.
pub fn hidden([eax, ebx, ecx, edx]: Regs) -> (u64, u64) {
    let join = |low, high| u64::from(high) << 32 | u64::from(low);
    (join(eax, ebx), join(ecx, edx))
}

/// Runs one CPUID.
pub fn query(vm: &mut Vm, eax: u32, ecx: u32) -> Result<Regs> {
    let mut program = Program::new();
    program.cpuid(eax, ecx);
    Ok(vm.run(&program)?[0])
}

/// A guest that reads the total while KVM's own statistics stand still.
///
/// The reader's own exits are in both books, too; a run in which an interrupt
/// added to them is repeated, and KVM's book alone decides that.
pub struct Books {
    reader: Vm,
    offset: u64,
}

impl Books {
    /// For a profiler that has been loaded just now: every exit counts.
    pub fn since_load() -> Result<Self> {
        Ok(Self {
            reader: Vm::plain()?,
            offset: 0,
        })
    }

    /// Opens the books; what was counted before is not looked at. `vms` are
    /// those that there are already.
    pub fn open(vms: &[&Vm]) -> Result<Self> {
        let mut books = Self::since_load()?;
        let (total, stat) = books.compare(vms)?;
        books.offset = total.wrapping_sub(stat);
        Ok(books)
    }

    /// Demands that the profiler's total is what KVM counted for `vms`, which
    /// are all that ran since the books were opened, and for the reader.
    pub fn balance(&mut self, vms: &[&Vm]) -> Result<u64> {
        let (ours, stat) = self.compare(vms)?;
        ensure!(ours == stat, "total {ours}, KVM's statistic {stat}");
        Ok(stat)
    }

    /// The profiler's total, and KVM's statistic for `vms` and the reader.
    pub fn compare(&mut self, vms: &[&Vm]) -> Result<(u64, u64)> {
        let (total, mut stat) = self.read()?;
        for vm in vms {
            stat += vm.exits()?;
        }
        Ok((total.wrapping_sub(self.offset), stat))
    }

    /// The total, and the reader's exits that are in it.
    fn read(&mut self) -> Result<(u64, u64)> {
        for _ in 0..100 {
            let before = self.reader.exits()?;
            let total = exits(query(&mut self.reader, TOTAL_EXITS, 0)?)?;
            // The CPUID, and the OUT that ends the program.
            if self.reader.exits()? == before + 2 {
                return Ok((total, before));
            }
        }
        bail!("interrupts disturbed every attempt to read the total")
    }
}
