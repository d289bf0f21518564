// SPDX-License-Identifier: GPL-2.0

//! A guest's reading of the profile, by the CPUID instruction.
//!
//! Each CPUID is an exit and is counted. So that all figures are of one time, and so
//! that it is known which of our own exits are in them, they are read from a snapshot
//! that the host holds for the vCPU, if it can.

use super::now_ns;
use crate::snapshot::{Owner, Reading, Row, Snapshot, Source, VERSION};
use anyhow::{Context, Result, bail, ensure};
use kvm_exitprof::profile::{
    counts::Sample,
    leaf::{self, Answer, Command, FEATURE_SNAPSHOT, Protocol, Query, Registers, Scope},
    reason::{Isa, Status},
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::{arch::x86_64::__cpuid_count, thread, time::Duration};

/// How often a reading is tried: another on the same vCPU, or a reset, may disturb it.
const ATTEMPTS: u64 = 10;

/// Something that executes CPUID.
pub trait Cpuid {
    /// Leaf `eax`, parameter `ecx`.
    fn cpuid(&mut self, eax: u32, ecx: u32) -> Registers;
}

/// The instruction.
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

/// A reader of the leaves, always on the same vCPU.
#[derive(Debug)]
pub struct Guest<C> {
    cpuid: C,
    /// The vCPU: snapshots are each vCPU's own, and perhaps all counts.
    cpu: usize,
    /// When it began.
    reader: u64,
    /// How many CPUIDs it has executed.
    executed: u64,
}

/// Why a reading came to nothing, and may come to something if tried again.
struct Disturbed(&'static str);

impl<C: Cpuid> Guest<C> {
    /// A reader, if the profiler answers.
    ///
    /// # Errors
    ///
    /// If it does not, or speaks of an instruction set or scope that is not known.
    pub fn find(cpuid: C) -> Result<Guest<C>> {
        // The standard library asks by CPUID what the processor has, once: before we count.
        let _ = std::arch::is_x86_feature_detected!("sse4.2");
        let mut guest = Guest {
            cpuid,
            cpu: sched_getcpu(),
            reader: now_ns(),
            executed: 0,
        };
        let _pinned = Pinned::to(guest.cpu)?;
        guest.protocol()?;
        Ok(guest)
    }

    /// Reads all figures.
    ///
    /// # Errors
    ///
    /// If the profiler is gone, or the reading is disturbed each time.
    pub fn read(&mut self) -> Result<Snapshot> {
        let _pinned = Pinned::to(self.cpu)?;
        let mut why = "";
        for attempt in 0..ATTEMPTS {
            thread::sleep(Duration::from_millis(attempt));
            match self.attempt()? {
                Ok(snapshot) => return Ok(snapshot),
                Err(Disturbed(reason)) => why = reason,
            }
        }
        bail!("{why}, each of {ATTEMPTS} times: try again")
    }

    fn ask(&mut self, eax: u32, ecx: u32) -> Registers {
        self.executed += 1;
        self.cpuid.cpuid(eax, ecx)
    }

    /// What the profiler says of itself, if it is there.
    fn protocol(&mut self) -> Result<(Protocol, Isa, Scope)> {
        ensure!(
            self.ask(leaf::DISCOVERY, 0) == leaf::PRESENT,
            "the host has no kvm_exitprof loaded, or does not tell guests (parameter scope=off): leaf {:#x} does not answer",
            leaf::DISCOVERY
        );
        let protocol = Protocol::from(self.ask(leaf::PROTOCOL, 0));
        let isa = Isa::from_number(protocol.isa).with_context(|| {
            format!(
                "the host's instruction set is number {}, and this exitprof knows only VMX (1) and SVM (2)",
                protocol.isa
            )
        })?;
        let scope = Scope::from_number(protocol.scope).with_context(|| {
            format!(
                "the host tells of a scope of number {}, which this exitprof does not know",
                protocol.scope
            )
        })?;
        Ok((protocol, isa, scope))
    }

    fn command(&mut self, command: Command) -> leaf::Snapshot {
        self.ask(leaf::SNAPSHOT, command as u32).into()
    }

    fn attempt(&mut self) -> Result<Result<Snapshot, Disturbed>> {
        let (protocol, isa, scope) = self.protocol()?;
        if protocol.epoch == 0 {
            return Ok(Err(Disturbed("the counters were starting from zero")));
        }
        let held = if protocol.features & FEATURE_SNAPSHOT != 0 {
            Some(self.command(Command::Take)).filter(|snapshot| snapshot.held)
        } else {
            None
        };
        // Taking it is itself an exit that is not in it.
        let taken_at = self.executed - u64::from(held.is_some());
        let time_ns = now_ns();

        let (rows, cpuid_at) = self.rows(isa);
        let total = held.map(|_| Sample {
            exits: self.number(leaf::TOTAL_EXITS, 0).unwrap_or(0),
            cycles: self.number(leaf::TOTAL_CYCLES, 0).unwrap_or(0),
        });

        if let Some(held) = held {
            if self.command(Command::Tell) != held {
                return Ok(Err(Disturbed(
                    "another on this vCPU has read meanwhile, or the counters started from zero",
                )));
            }
            self.command(Command::Release);
        }
        let (after, ..) = self.protocol()?;
        if after != protocol {
            return Ok(Err(Disturbed(
                "the counters started from zero meanwhile, or are of another scope",
            )));
        }
        let sum = rows
            .iter()
            .fold(Sample::default(), |sum, r| sum + r.sample());
        if total.is_some_and(|total| total != sum) {
            return Ok(Err(Disturbed(
                "the reasons did not add up to all exits, as in a snapshot they must",
            )));
        }

        let before = if held.is_some() { taken_at } else { cpuid_at };
        Ok(Ok(Snapshot {
            version: VERSION,
            source: match scope {
                Scope::Host => Source::GuestOfHost,
                Scope::Vm => Source::GuestOfVm,
                Scope::Vcpu => Source::GuestOfVcpu,
            },
            isa: isa.into(),
            epoch: protocol.epoch,
            tsc_khz: protocol.tsc_khz,
            time_ns,
            since_ns: None,
            cpus: None,
            sampling: None,
            account: None,
            reading: Some(Reading {
                at_once: held.is_some(),
                reader: self.reader,
                before,
                after: self.executed - before,
            }),
            attached: Vec::new(),
            rows,
        }))
    }

    /// The rows of reasons with exits, and how many CPUIDs had been executed when it
    /// was asked how many there were.
    fn rows(&mut self, isa: Isa) -> (Vec<Row>, u64) {
        let mut cpuid_at = self.executed;
        let mut rows = Vec::new();
        let reasons = (0..isa.slots()).filter_map(|slot| isa.reason(slot));
        for reason in reasons.filter(|&reason| isa.status(reason) == Status::Handled) {
            let name = isa.name(reason).to_string();
            if name == "CPUID" {
                cpuid_at = self.executed;
            }
            // Each question is an exit: cycles are asked for where there are some.
            let Some(exits) = self.number(leaf::EXITS, reason).filter(|&exits| exits > 0) else {
                continue;
            };
            rows.push(Row {
                owner: Owner::All,
                reason: Some(reason),
                name,
                exits,
                cycles: self.number(leaf::CYCLES, reason).unwrap_or(0),
                distribution: None,
            });
        }
        let hidden = Query::Hidden.decode(self.ask(leaf::HIDDEN, 0));
        if let Answer::Sample(Sample {
            exits: exits @ 1..,
            cycles,
        }) = hidden
        {
            rows.push(Row {
                owner: Owner::Hidden,
                reason: None,
                name: "hidden".into(),
                exits,
                cycles,
                distribution: None,
            });
        }
        (rows, cpuid_at)
    }

    /// A number of exits or cycles; `None` if there is no such reason.
    fn number(&mut self, eax: u32, ecx: u32) -> Option<u64> {
        match Query::new(eax, ecx)?.decode(self.ask(eax, ecx)) {
            Answer::Exits(n) | Answer::Cycles(n) => Some(n),
            _ => None,
        }
    }
}

/// While it lives, this thread runs on one CPU alone. What it starts later does not.
struct Pinned(CpuSet);

impl Pinned {
    fn to(cpu: usize) -> Result<Pinned> {
        let before = sched_getaffinity(None).context("sched_getaffinity")?;
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one).with_context(|| {
            format!("CPU {cpu}, on which this exitprof reads, is not to be had")
        })?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // If none of these CPUs is left, the kernel has chosen others already.
        let _ = sched_setaffinity(None, &self.0);
    }
}
