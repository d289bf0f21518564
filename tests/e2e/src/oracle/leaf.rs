// SPDX-License-Identifier: GPL-2.0
//! Reading leaves in a guest, and what the tests demand of every answer.
//!
//! Decoding is written out here and not taken from the model, which is what
//! the module answers with: a mistake in it must not cancel out.

use crate::host::tracepoint::Counter;
use crate::vmm::guest::{Program, Regs};
use crate::vmm::vm::Vm;
use anyhow::{Result, bail, ensure};
pub use profile::leaf::{
    CYCLES, DISCOVERY, EXITS, HIDDEN, IDENTITY, PROTOCOL, SNAPSHOT, TOTAL_CYCLES, TOTAL_EXITS,
    UNTIMED, of_snapshot,
};

/// The signature that says the profiler is there.
pub const PRESENT: Regs = [0x4fff_ffff, text(b"KVME"), text(b"xitP"), text(b"rof\0")];
/// The answer for a reason that the SDM does not define.
pub const UNDEFINED: Regs = [0, 0, 0, u32::MAX];

const fn text(bytes: &[u8; 4]) -> u32 {
    u32::from_le_bytes(*bytes)
}

/// A number of exits: leaves FC, FE and 05.
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

/// What is counted, and since which start from zero: leaf 04.
pub fn identity([eax, ebx, ecx, edx]: Regs) -> Result<(u64, u32)> {
    ensure!(edx == 0, "EDX={edx:#x}, want zero");
    let id = u64::from(ebx) << 32 | u64::from(eax);
    ensure!(id != 0 && ecx != 0, "id {id:#x}, epoch {ecx:#x}");
    Ok((id, ecx))
}

/// Whether the vCPU holds a snapshot, and how many it has taken: leaf E0.
pub fn is_snapshot([eax, ebx, ecx, edx]: Regs) -> Result<(bool, u32)> {
    ensure!(
        eax <= 1 && ecx == 0 && edx == 0,
        "EAX={eax:#x} ECX={ecx:#x} EDX={edx:#x}, want 0 or 1, and zeros"
    );
    Ok((eax == 1, ebx))
}

/// Runs one CPUID.
pub fn query(vm: &mut Vm, eax: u32, ecx: u32) -> Result<Regs> {
    let mut program = Program::new();
    program.cpuid(eax, ecx);
    Ok(vm.run(&program)?[0])
}

/// A guest that reads the total while KVM's own statistics stand still, and
/// the tracepoint kvm_exit does.
///
/// The reader's own exits are in all books, too; a run in which an interrupt
/// added to them is repeated, and KVM's book alone decides that.
pub struct Books {
    traced: Counter,
    reader: Vm,
    opened: Totals,
}

/// How many exits each book says there were.
#[derive(Clone, Copy, Default)]
struct Totals {
    ours: u64,
    stat: u64,
    traced: u64,
}

impl Books {
    /// For a profiler that has been loaded just now: every exit counts.
    pub fn since_load() -> Result<Self> {
        Ok(Self {
            traced: Counter::all()?,
            reader: Vm::plain()?,
            opened: Totals::default(),
        })
    }

    /// Opens the books; what was counted before is not looked at. `vms` are
    /// those that there are already.
    pub fn open(vms: &[&Vm]) -> Result<Self> {
        let mut books = Self::since_load()?;
        books.opened = books.totals(vms)?;
        Ok(books)
    }

    /// Demands that the profiler's total is what KVM counted for `vms`, which
    /// are all that ran since the books were opened, and for the reader; and
    /// how often the tracepoint fired.
    pub fn balance(&mut self, vms: &[&Vm]) -> Result<u64> {
        self.balance_but(vms, 0)
    }

    /// The same, but for so many exits that KVM made up, for which the
    /// tracepoint does not fire.
    pub fn balance_but(&mut self, vms: &[&Vm], untraced: u64) -> Result<u64> {
        let Totals { ours, stat, traced } = self.totals(vms)?;
        ensure!(ours == stat, "total {ours}, KVM's statistic {stat}");
        ensure!(
            traced + untraced == stat,
            "kvm_exit fired {traced} times, KVM's statistic {stat}, of which {untraced} are made up"
        );
        Ok(stat)
    }

    /// The profiler's total, and KVM's statistic for `vms` and the reader.
    pub fn compare(&mut self, vms: &[&Vm]) -> Result<(u64, u64)> {
        let Totals { ours, stat, .. } = self.totals(vms)?;
        Ok((ours, stat))
    }

    fn totals(&mut self, vms: &[&Vm]) -> Result<Totals> {
        let mut now = self.read()?;
        for vm in vms {
            now.stat += vm.exits()?;
        }
        Ok(Totals {
            ours: now.ours.wrapping_sub(self.opened.ours),
            stat: now.stat.wrapping_sub(self.opened.stat),
            traced: now.traced.wrapping_sub(self.opened.traced),
        })
    }

    /// The total, and the reader's exits that are in it.
    fn read(&mut self) -> Result<Totals> {
        for _ in 0..100 {
            let stat = self.reader.exits()?;
            let traced = self.traced.read()?;
            let ours = exits(query(&mut self.reader, TOTAL_EXITS, 0)?)?;
            // The CPUID, and the OUT that ends the program.
            if self.reader.exits()? == stat + 2 {
                return Ok(Totals { ours, stat, traced });
            }
        }
        bail!("interrupts disturbed every attempt to read the total")
    }
}
