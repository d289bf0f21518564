// SPDX-License-Identifier: GPL-2.0
//! Everything that a guest can read, as the design's table of leaves has it.
//!
//! Like [`crate::leaf`], this is written out and not taken from the model.

use crate::cpu::{self, reasons};
use crate::guest::{GARBAGE, Program, Regs};
use crate::leaf::{self, cycles, exits, hidden};
use crate::random::Query;
use crate::vm::{Vcpu, Vm};
use anyhow::{Result, bail, ensure};
use kvm_exitprof::profile::counts::{Profile, Sample};
use kvm_exitprof::profile::leaf::{
    Command, Protocol, Query as ModelQuery, Registers, Responder, Snapshot,
};
use kvm_exitprof::profile::reason::{Isa, Status};
use std::collections::{BTreeMap, BTreeSet};

/// What exits and cycles are counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Total,
    Hidden,
    Reason(u32),
}

/// What the design says about an answer.
pub enum Want {
    Is(Regs),
    Exits(Row),
    Cycles(Row),
    Both(Row),
    /// Something about the vCPU's snapshot.
    Snapshot,
}

/// Exits and cycles by row, and what describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    pub protocol: Regs,
    pub rows: BTreeMap<Row, (u64, u64)>,
    unhandled: BTreeSet<u32>,
}

impl Book {
    /// What a guest reads that is left in peace.
    pub fn read(vm: &mut Vm) -> Result<Self> {
        Self::read_on(&mut vm.vcpus[0])
    }

    /// The same, on one of its vCPUs.
    pub fn read_on(vcpu: &mut Vcpu) -> Result<Self> {
        let mut program = Program::new();
        for eax in [
            leaf::PROTOCOL,
            leaf::HIDDEN,
            leaf::TOTAL_EXITS,
            leaf::TOTAL_CYCLES,
        ] {
            program.cpuid(eax, GARBAGE);
        }
        let handled = reasons(Status::Handled);
        for &reason in &handled {
            program.cpuid(leaf::EXITS, reason);
            program.cpuid(leaf::CYCLES, reason);
        }
        let answers = vcpu.run(&program)?;
        let mut rows = BTreeMap::new();
        rows.insert(Row::Hidden, hidden(answers[1]));
        rows.insert(Row::Total, (exits(answers[2])?, cycles(answers[3])?));
        for (reason, pair) in handled.into_iter().zip(answers[4..].chunks_exact(2)) {
            rows.insert(Row::Reason(reason), (exits(pair[0])?, cycles(pair[1])?));
        }
        Ok(Self {
            protocol: answers[0],
            rows,
            unhandled: reasons(Status::Unhandled).into_iter().collect(),
        })
    }

    /// What the design says about the answer to a query for the block.
    pub fn want(&self, (eax, ecx): Query) -> Result<Want> {
        let reason = Row::Reason(ecx);
        Ok(match eax {
            0x4fff_ff00 => Want::Is(leaf::PRESENT),
            0x4fff_ff01 => Want::Is(self.protocol),
            0x4fff_ff02 => Want::Both(Row::Hidden),
            0x4fff_fffc => Want::Exits(Row::Total),
            0x4fff_fffd => Want::Cycles(Row::Total),
            0x4fff_fffe if self.rows.contains_key(&reason) => Want::Exits(reason),
            0x4fff_ffff if self.rows.contains_key(&reason) => Want::Cycles(reason),
            0x4fff_fffe | 0x4fff_ffff if self.unhandled.contains(&ecx) => Want::Is([0; 4]),
            0x4fff_fffe | 0x4fff_ffff => Want::Is(leaf::UNDEFINED),
            0x4fff_ff03 if ecx <= 2 => Want::Snapshot,
            0x4fff_ff03 => Want::Is(leaf::UNDEFINED),
            0x4fff_ff04..0x4fff_fffc => Want::Is([0; 4]),
            _ => bail!("not what KVM itself answers"),
        })
    }

    /// The answer while nothing is recorded, but for what depends on the past.
    pub fn answer(&self, query: Query) -> Result<Option<Regs>> {
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        Ok(Some(match self.want(query)? {
            Want::Snapshot => return Ok(None),
            Want::Is(regs) => regs,
            Want::Exits(row) => {
                let (low, high) = halves(self.rows[&row].0);
                [low, high, 0, 0]
            }
            Want::Cycles(row) => {
                let (low, high) = halves(self.rows[&row].1);
                [0, high, low, 0]
            }
            Want::Both(row) => {
                let (exits, cycles) = self.rows[&row];
                let ((a, b), (c, d)) = (halves(exits), halves(cycles));
                [a, b, c, d]
            }
        }))
    }

    /// Demands that an answer is what it has to be while nothing is recorded.
    pub fn is_frozen(&self, query: Query, got: Regs) -> Result<()> {
        match self.answer(query)? {
            Some(want) => ensure!(got == want, "want {want:x?}"),
            None => drop(leaf::is_snapshot(got)?),
        }
        Ok(())
    }

    /// Demands that an answer counts no less than the last one did, which it
    /// replaces.
    pub fn rise(&mut self, query: Query, got: Regs) -> Result<()> {
        let (row, new) = match self.want(query)? {
            Want::Is(want) => {
                ensure!(got == want, "want {want:x?}");
                return Ok(());
            }
            Want::Exits(row) => (row, (exits(got)?, self.rows[&row].1)),
            Want::Cycles(row) => (row, (self.rows[&row].0, cycles(got)?)),
            Want::Both(row) => (row, hidden(got)),
            Want::Snapshot => return leaf::is_snapshot(got).map(drop),
        };
        let last = self.rows.insert(row, new).unwrap_or_default();
        ensure!(
            new.0 >= last.0 && new.1 >= last.1,
            "{row:?} fell from {last:?} to {new:?}"
        );
        Ok(())
    }

    /// Demands that no row counts more than in `later`.
    pub fn is_before(&self, later: &Self) -> Result<()> {
        ensure!(self.protocol == later.protocol, "the protocol changed");
        for (row, &(exits, cycles)) in &self.rows {
            let (most, most_cycles) = later.rows[row];
            ensure!(
                exits <= most && cycles <= most_cycles,
                "{row:?} was {:?}, later {:?}",
                (exits, cycles),
                (most, most_cycles)
            );
        }
        Ok(())
    }
}

/// The model's own idea of the answers, from the same rows.
pub struct Model {
    isa: Isa,
    slots: Vec<Sample>,
    protocol: Protocol,
}

impl Model {
    pub fn new(book: &Book) -> Self {
        let isa = cpu::isa();
        let mut slots = vec![Sample::default(); isa.slots()];
        for (&row, &(exits, cycles)) in &book.rows {
            let slot = match row {
                Row::Total => continue,
                // Of the slots that are hidden one may have it all.
                Row::Hidden => isa.slots() - 1,
                Row::Reason(reason) => isa.slot(reason),
            };
            slots[slot] = Sample { exits, cycles };
        }
        let [eax, ebx, ecx, edx] = book.protocol;
        let protocol = Registers { eax, ebx, ecx, edx }.into();
        Self {
            isa,
            slots,
            protocol,
        }
    }

    pub fn answer(&self, (eax, ecx): Query) -> Option<Regs> {
        let mut model = self;
        let answer = ModelQuery::new(eax, ecx)?.answer(&mut model);
        let Registers { eax, ebx, ecx, edx } = answer.into();
        Some([eax, ebx, ecx, edx])
    }
}

impl Responder for &Model {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Not what a guest is to be compared with.
    fn snapshot(&mut self, _: Command) -> Snapshot {
        Snapshot::default()
    }
}

impl Profile for &Model {
    fn isa(&self) -> Isa {
        self.isa
    }

    fn slot(&self, slot: usize) -> Sample {
        self.slots[slot]
    }
}
