// SPDX-License-Identifier: GPL-2.0
//! The answers that the model gives, from which the module takes its own.

use super::counts::Which;
use super::snapshot::Held;
use super::sweep::Sweep;
use crate::vmm::cpu::{self, Isa};
use crate::vmm::{Query, Regs};
use profile::counts::{Profile, Tally};
use profile::leaf::{Command, Identity, Protocol, Registers, SnapshotState};
use profile::phases::Totals;
use profile::query::{Responder, When};
use profile::reason::Kernel;

/// The model with the counts of a sweep.
pub struct Model {
    isa: Isa,
    slots: Vec<Tally>,
    protocol: Protocol,
    identity: Identity,
}

impl Model {
    pub fn new(sweep: &Sweep) -> Self {
        let isa = cpu::isa();
        let mut slots = vec![Tally::default(); isa.slots()];
        for (&which, &counts) in &sweep.counts {
            let slot = match which {
                Which::All => continue,
                // Any one of the hidden slots can have the sum.
                Which::Hidden => isa.slots() - 1,
                Which::Of(reason) => isa.slot(reason),
            };
            slots[slot] = Tally {
                exits: counts.exits,
                cycles: counts.cycles,
                untimed: counts.untimed,
            };
        }
        let registers = |[eax, ebx, ecx, edx]: Regs| Registers { eax, ebx, ecx, edx };
        Self {
            isa,
            slots,
            protocol: registers(sweep.protocol).into(),
            identity: registers(sweep.identity).into(),
        }
    }

    /// The answer to a guest that knows `held` of its vCPU's snapshot.
    pub fn answer(&self, (eax, ecx): Query, held: Held) -> Option<Regs> {
        let mut guest = Guest { model: self, held };
        let answer = profile::query::Query::new(eax, ecx)?.answer(&mut guest);
        let Registers { eax, ebx, ecx, edx } = answer.into();
        Some([eax, ebx, ecx, edx])
    }
}

struct Guest<'a> {
    model: &'a Model,
    held: Held,
}

impl Guest<'_> {
    fn can_answer(&self, when: When) -> bool {
        when == When::Now || self.held.held
    }
}

impl Responder for Guest<'_> {
    fn isa(&self) -> Isa {
        self.model.isa
    }

    fn kernel(&self) -> Kernel {
        cpu::kernel()
    }

    fn protocol(&self) -> Protocol {
        self.model.protocol
    }

    /// Commands are not compared.
    fn snapshot(&mut self, _: Command) -> SnapshotState {
        SnapshotState::default()
    }

    fn identity(&self, when: When) -> Option<Identity> {
        self.can_answer(when).then_some(self.model.identity)
    }

    fn profile(&self, when: When) -> Option<&dyn Profile> {
        self.can_answer(when).then_some(self.model)
    }

    /// Phases are not recorded.
    fn phases(&self, _: When) -> Option<Totals> {
        None
    }
}

impl Profile for Model {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(slot, _)| wanted(*slot))
            .fold(Tally::default(), |sum, (_, &tally)| sum + tally)
    }
}
