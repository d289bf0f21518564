// SPDX-License-Identifier: GPL-2.0

//! Reads the profiler's CPUID leaves one by one.

use crate::{
    reasons,
    snapshot::{
        Owner,
        budget::{Budget, SpentRow},
    },
};
use anyhow::{Context, Result, ensure};
use profile::{
    isa::Isa,
    leaf::{self, Identity, Protocol, Registers, Scope},
    phases::{Phase, Spent},
    query::{Answer, Query, When},
    reason::{Kernel, Status},
};
use std::arch::x86_64::__cpuid_count;

/// Executes CPUID.
pub trait Cpuid {
    /// Reads leaf `eax`, subleaf `ecx`.
    fn cpuid(&mut self, eax: u32, ecx: u32) -> Registers;
}

/// The CPUID instruction itself.
#[derive(Debug)]
pub struct Instruction;

impl Cpuid for Instruction {
    fn cpuid(&mut self, eax: u32, ecx: u32) -> Registers {
        // SAFETY: every x86-64 processor has the instruction.
        #[allow(unused_unsafe)]
        let r = unsafe { __cpuid_count(eax, ecx) };
        Registers {
            eax: r.eax,
            ebx: r.ebx,
            ecx: r.ecx,
            edx: r.edx,
        }
    }
}

/// What the host answers for a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonAnswer {
    /// The reason.
    pub reason: u32,
    /// How the host's KVM treats it.
    pub status: Status,
    /// How many CPUIDs had been executed before.
    pub executed: u64,
    /// The exits and their cycles; `None` if the host does not know the reason.
    pub counted: Option<(u64, u64)>,
}

/// Reads leaves, and counts how many CPUIDs that takes. Each is an exit.
#[derive(Debug)]
pub struct LeafReader<C> {
    cpuid: C,
    executed: u64,
}

impl<C: Cpuid> LeafReader<C> {
    /// A reader that has not executed any CPUID yet.
    pub fn new(cpuid: C) -> LeafReader<C> {
        // The standard library executes CPUIDs of its own, once. Now they are not counted.
        let _ = std::arch::is_x86_feature_detected!("sse4.2");
        LeafReader { cpuid, executed: 0 }
    }

    /// How many CPUIDs it has executed so far.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// Reads leaf `eax`, subleaf `ecx`.
    pub fn read(&mut self, eax: u32, ecx: u32) -> Registers {
        self.executed += 1;
        self.cpuid.cpuid(eax, ecx)
    }

    /// Reads how the profiler describes itself.
    ///
    /// # Errors
    ///
    /// If there is no profiler, or its protocol, instruction set or scope is unknown.
    pub fn protocol(&mut self) -> Result<(Protocol, Isa, Scope)> {
        ensure!(
            self.read(leaf::DISCOVERY, 0) == leaf::PRESENT,
            "the host has no kvm_exitprof loaded, or hides it from guests (module parameter scope=off): leaf {:#x} does not answer",
            leaf::DISCOVERY
        );
        let protocol = Protocol::from(self.read(leaf::PROTOCOL, 0));
        ensure!(
            (1..=leaf::VERSION).contains(&protocol.version),
            "the host's protocol has version {}, but this exitprof reads only versions 1 to {}: use the exitprof that came with the module",
            protocol.version,
            leaf::VERSION
        );
        let isa = Isa::from_number(protocol.isa).with_context(|| {
            format!(
                "the host's instruction set has number {}, but this exitprof knows only VMX (1) and SVM (2)",
                protocol.isa
            )
        })?;
        let scope = Scope::from_number(protocol.scope).with_context(|| {
            format!(
                "the host's scope has number {}, which this exitprof does not know",
                protocol.scope
            )
        })?;
        Ok((protocol, isa, scope))
    }

    /// Reads what is counted; `None` if there is no snapshot.
    pub fn identity(&mut self, when: When) -> Option<Identity> {
        match self.answer(when, leaf::IDENTITY, 0)? {
            Answer::Other(registers) => Some(registers.into()),
            _ => None,
        }
    }

    /// Reads the exits of `reason` and their cycles; `None` if the host does not know the
    /// reason, or there is no snapshot. It asks for cycles only if there are exits.
    pub fn reason(&mut self, when: When, reason: u32) -> Option<(u64, u64)> {
        match self.number(when, leaf::EXITS, reason)? {
            0 => Some((0, 0)),
            exits => Some((exits, self.number(when, leaf::CYCLES, reason)?)),
        }
    }

    /// Reads what the host answers for each reason of the instruction set, in order, as long
    /// as `wants` its treatment by KVM.
    pub fn reasons(
        &mut self,
        isa: Isa,
        protocol: Protocol,
        when: When,
        wants: impl Fn(Status) -> bool,
    ) -> Vec<ReasonAnswer> {
        let kernel = Kernel::from_number(protocol.kernel);
        let all = reasons::all(isa).map(|reason| (reason, isa.status(kernel, reason)));
        let wanted = all.filter(|&(_, status)| wants(status));
        wanted
            .map(|(reason, status)| ReasonAnswer {
                reason,
                status,
                executed: self.executed,
                counted: self.reason(when, reason),
            })
            .collect()
    }

    /// Reads the exits that the leaves of single reasons hide, and their cycles.
    pub fn hidden(&mut self, when: When) -> Option<(u64, u64)> {
        match self.answer(when, leaf::HIDDEN, 0)? {
            Answer::Both(exits, cycles) => Some((exits, cycles)),
            _ => None,
        }
    }

    /// Reads where the time of vCPUs went; `None` if the host does not record phases.
    pub fn phases(&mut self, protocol: Protocol, when: When) -> Option<Budget> {
        if protocol.features & leaf::FEATURE_PHASES == 0 {
            return None;
        }
        let guest = self.number(when, leaf::PHASE, 0)?;
        let mut spent = Spent::NONE;
        for (subleaf, phase) in (1..).zip(Phase::ALL) {
            spent.spend(phase, self.number(when, leaf::PHASE, subleaf)?);
        }
        Some(Budget {
            owner: Owner::All,
            elapsed: guest.wrapping_add(spent.total()),
            guest,
            // The leaves do not tell reasons apart.
            spent: vec![SpentRow {
                reason: None,
                name: "all".into(),
                cycles: spent.into(),
            }],
            trips: Vec::new(),
        })
    }

    /// Reads a number of exits or cycles; `None` if there is no such reason or no snapshot.
    pub fn number(&mut self, when: When, leaf: u32, subleaf: u32) -> Option<u64> {
        match self.answer(when, leaf, subleaf)? {
            Answer::Exits(n) | Answer::Cycles(n) => Some(n),
            _ => None,
        }
    }

    fn answer(&mut self, when: When, leaf: u32, subleaf: u32) -> Option<Answer> {
        let leaf = match when {
            When::Now => leaf,
            When::Snapshot => leaf::of_snapshot(leaf),
        };
        Some(Query::new(leaf, subleaf)?.decode(self.read(leaf, subleaf)))
    }
}
