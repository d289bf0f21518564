// SPDX-License-Identifier: GPL-2.0
//! A sweep: all that a guest can read, as the protocol's table of leaves has it.
//!
//! Like [`super::leaf`], this is written out, and not taken from the model.

use super::counts::{Counts, Figure, Which};
use super::leaf;
use super::snapshot::{Held, live};
use crate::vmm::cpu::{Status, reasons};
use crate::vmm::{GARBAGE, Program, Query, Regs, Vcpu, Vm};
use anyhow::{Result, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// What the protocol says about an answer.
#[derive(Clone, Copy)]
pub enum Want {
    Is(Regs),
    Counts(Figure, Which),
    /// The answer to a command for the vCPU's snapshot.
    Snapshot(u32),
}

/// What a guest has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub protocol: Regs,
    pub identity: Regs,
    pub counts: BTreeMap<Which, Counts>,
    unhandled: BTreeSet<u32>,
}

impl Sweep {
    /// Reads the live leaves.
    pub fn read(vm: &mut Vm) -> Result<Self> {
        Self::read_as(&mut vm.vcpus[0], |leaf| leaf)
    }

    /// Reads the snapshot that the vCPU holds.
    pub fn of_snapshot(vcpu: &mut Vcpu) -> Result<Self> {
        Self::read_as(vcpu, leaf::of_snapshot)
    }

    fn read_as(vcpu: &mut Vcpu, of: impl Fn(u32) -> u32) -> Result<Self> {
        let mut program = Program::new();
        let protocol = program.cpuid(leaf::PROTOCOL, GARBAGE);
        let identity = program.cpuid(of(leaf::IDENTITY), GARBAGE);
        let mut figures = Vec::new();
        let mut add = |which, figure, eax, ecx| {
            figures.push((which, figure, program.cpuid(of(eax), ecx)));
        };
        add(Which::Hidden, Figure::ExitsAndCycles, leaf::HIDDEN, GARBAGE);
        add(Which::All, Figure::Exits, leaf::TOTAL_EXITS, GARBAGE);
        add(Which::All, Figure::Cycles, leaf::TOTAL_CYCLES, GARBAGE);
        for reason in reasons(Status::Handled) {
            let which = Which::Of(reason);
            add(which, Figure::Exits, leaf::EXITS, reason);
            add(which, Figure::Cycles, leaf::CYCLES, reason);
            add(which, Figure::Untimed, leaf::UNTIMED, reason);
        }
        let answers = vcpu.run(&program)?;
        let mut all = BTreeMap::<_, Counts>::new();
        for (which, figure, at) in figures {
            let counts = all.entry(which).or_default();
            *counts = counts.max(figure.decode(answers[at])?);
        }
        Ok(Self {
            protocol: answers[protocol],
            identity: answers[identity],
            counts: all,
            unhandled: reasons(Status::Unhandled).into_iter().collect(),
        })
    }

    /// What the protocol says about the answer to a query of the profiler's leaves,
    /// live or from a snapshot that the vCPU holds.
    pub fn want(&self, (eax, ecx): Query) -> Result<Want> {
        let of_reason = |figure| {
            let which = Which::Of(ecx);
            match self.unhandled.contains(&ecx) {
                _ if self.counts.contains_key(&which) => Want::Counts(figure, which),
                true => Want::Is([0; 4]),
                false => Want::Is(leaf::UNDEFINED),
            }
        };
        Ok(match live(eax).unwrap_or(eax) {
            0x4fff_ff00 => Want::Is(leaf::PRESENT),
            0x4fff_ff01 => Want::Is(self.protocol),
            0x4fff_ff02 => Want::Counts(Figure::ExitsAndCycles, Which::Hidden),
            0x4fff_ff04 => Want::Is(self.identity),
            0x4fff_ff05 => of_reason(Figure::Untimed),
            0x4fff_fffc => Want::Counts(Figure::Exits, Which::All),
            0x4fff_fffd => Want::Counts(Figure::Cycles, Which::All),
            0x4fff_fffe => of_reason(Figure::Exits),
            0x4fff_ffff => of_reason(Figure::Cycles),
            0x4fff_ffe0 if ecx <= 2 => Want::Snapshot(ecx),
            0x4fff_ffe0 => Want::Is(leaf::UNDEFINED),
            // Phases are not recorded.
            0x4fff_ff06 => Want::Is(leaf::UNDEFINED),
            0x4fff_ff03 | 0x4fff_ff07..0x4fff_fffc => Want::Is([0; 4]),
            _ => bail!("not KVM's own answer"),
        })
    }

    /// The answer while nothing is recorded, if the query is no command for a snapshot.
    /// `held` is what the guest knows of its vCPU's snapshot.
    pub fn answer(&self, query: Query, held: Held) -> Result<Option<Regs>> {
        if live(query.0).is_some() && !held.held {
            return Ok(Some(leaf::UNDEFINED));
        }
        Ok(match self.want(query)? {
            Want::Snapshot(_) => None,
            Want::Is(regs) => Some(regs),
            Want::Counts(figure, which) => Some(figure.encode(self.counts[&which])),
        })
    }

    /// Checks an answer while nothing is recorded. `held` is what the guest knows of
    /// its vCPU's snapshot.
    pub fn check(&self, query: Query, got: Regs, held: &mut Held) -> Result<()> {
        match self.answer(query, *held)? {
            Some(want) => ensure!(got == want, "want {want:x?}, {held:?}"),
            None => held.follow(query.1, got)?,
        }
        Ok(())
    }

    /// Checks that no count exceeds that in `later`.
    pub fn check_before(&self, later: &Self) -> Result<()> {
        let same = self.protocol == later.protocol && self.identity == later.identity;
        ensure!(same, "the protocol or the identity changed");
        for (which, &counts) in &self.counts {
            let most = later.counts[which];
            ensure!(
                counts.is_before(most),
                "{which:?} was {counts:?}, later {most:?}"
            );
        }
        Ok(())
    }
}
