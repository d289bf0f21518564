// SPDX-License-Identifier: GPL-2.0
//! The profiler's total, against KVM's own statistic and its tracepoint kvm_exit.

use super::leaf::total_exits;
use crate::host::Tracepoint;
use crate::vmm::Vm;
use anyhow::{Result, bail, ensure};

/// Knows how many exits there were since it began.
///
/// A guest of its own reads the profiler's total. Its exits are in all three counts. A
/// reading that an interrupt has added to is repeated, as KVM's statistic alone
/// decides.
pub struct Oracle {
    traced: Tracepoint,
    reader: Vm,
    start: Totals,
}

/// How many exits there were, by each count.
#[derive(Clone, Copy, Default)]
struct Totals {
    ours: u64,
    stat: u64,
    traced: u64,
}

impl Oracle {
    /// Begins with the profiler, which has just been loaded: every exit counts.
    pub fn since_load() -> Result<Self> {
        Ok(Self {
            traced: Tracepoint::all()?,
            reader: Vm::plain()?,
            start: Totals::default(),
        })
    }

    /// Begins now. `vms` are those of the later checks that exist already.
    pub fn since_now(vms: &[&Vm]) -> Result<Self> {
        let mut oracle = Self::since_load()?;
        oracle.start = oracle.totals(vms)?;
        Ok(oracle)
    }

    /// Checks that all three counts are equal, and returns them. `vms` are all VMs that
    /// have run since this began.
    pub fn check(&mut self, vms: &[&Vm]) -> Result<u64> {
        self.check_but(vms, 0)
    }

    /// Checks so, except for `untraced` exits that the tracepoint does not see.
    pub fn check_but(&mut self, vms: &[&Vm], untraced: u64) -> Result<u64> {
        let Totals { ours, stat, traced } = self.totals(vms)?;
        ensure!(ours == stat, "total {ours}, KVM's statistic {stat}");
        ensure!(
            traced + untraced == stat,
            "kvm_exit fired {traced} times, KVM's statistic {stat}, of which {untraced} untraced"
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
            ours: now.ours.wrapping_sub(self.start.ours),
            stat: now.stat.wrapping_sub(self.start.stat),
            traced: now.traced.wrapping_sub(self.start.traced),
        })
    }

    /// The counts with the reader's exits alone in KVM's statistic.
    fn read(&mut self) -> Result<Totals> {
        for _ in 0..100 {
            let stat = self.reader.exits()?;
            let traced = self.traced.read()?;
            let ours = total_exits(&mut self.reader)?;
            // The CPUID, and the OUT that ends the program.
            if self.reader.exits()? == stat + 2 {
                return Ok(Totals { ours, stat, traced });
            }
        }
        bail!("interrupts disturbed every attempt to read the total")
    }
}
