// SPDX-License-Identifier: GPL-2.0

//! Reads the profile in a guest, through the CPUID instruction.
//!
//! Each CPUID is an exit, and is counted itself. So if the host can hold a snapshot for the
//! vCPU, the figures are read from that: then they belong to one time, and it is known which
//! of our own exits they include.

use super::{
    leaves::{Cpuid, LeafReader},
    machine::monotonic_ns,
};
use crate::{
    reasons,
    snapshot::{Counter, Origin, Owner, Reading, Snapshot, VERSION, id::Id},
};
use anyhow::{Context, Result, bail};
use profile::{
    counts::Tally,
    isa::Isa,
    leaf::{self, Command, FEATURE_SNAPSHOT, Protocol, Scope},
    query::When,
    reason::Status,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use std::{fs, thread, time::Duration};

/// How often to try. Another reader on the same vCPU, or a reset, may disturb a reading.
const ATTEMPTS: u64 = 10;

/// The first version of the protocol with identities, untimed exits, and separate leaves for
/// the snapshot.
const FIRST_WITH_IDENTITY: u16 = 3;
/// In older versions, this leaf takes and releases the snapshot. While there is one, the
/// leaves of exits and cycles answer from it.
const OLD_SNAPSHOT: u32 = 0x4fff_ff03;

/// Reads snapshots, always on the same vCPU.
#[derive(Debug)]
pub struct Guest<C> {
    leaves: LeafReader<C>,
    /// The vCPU. Each has a snapshot of its own, and perhaps counters of its own.
    cpu: usize,
    /// When this reader began, in nanoseconds.
    reader: u64,
    /// Which boot of the guest this is, if the kernel says.
    boot: Option<String>,
}

/// Why a reading failed, though it may succeed if tried again.
struct Disturbed(&'static str);

const RESTARTING: Disturbed = Disturbed("the counters were starting from zero");
const CONTENDED: Disturbed =
    Disturbed("another reader on this vCPU interfered, or the counters started from zero");
const CHANGED: Disturbed =
    Disturbed("the counters started from zero meanwhile, or the VM, vCPU or scope changed");
const CONTRADICTORY: Disturbed =
    Disturbed("the reasons do not add up to the total, as they must in a snapshot");

impl<C: Cpuid> Guest<C> {
    /// Makes a reader.
    ///
    /// # Errors
    ///
    /// As of [`LeafReader::protocol`].
    pub fn find(cpuid: C) -> Result<Guest<C>> {
        let mut guest = Guest {
            leaves: LeafReader::new(cpuid),
            cpu: sched_getcpu(),
            reader: monotonic_ns(),
            boot: boot(),
        };
        let _pinned = Pinned::to(guest.cpu)?;
        guest.leaves.protocol()?;
        Ok(guest)
    }

    /// Reads a snapshot.
    ///
    /// # Errors
    ///
    /// If the profiler is gone, or each attempt is disturbed.
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
        bail!("{why}, in each of {ATTEMPTS} attempts: try again")
    }

    fn command(&mut self, leaf: u32, command: Command) -> leaf::SnapshotState {
        self.leaves.read(leaf, command as u32).into()
    }

    fn attempt(&mut self) -> Result<Result<Snapshot, Disturbed>> {
        let (protocol, isa, scope) = self.leaves.protocol()?;
        if protocol.epoch == 0 {
            return Ok(Err(RESTARTING));
        }
        let is_old = protocol.version < FIRST_WITH_IDENTITY;
        let mut held = None;
        if is_old {
            // A snapshot that someone has left behind must not answer.
            self.command(OLD_SNAPSHOT, Command::Release);
        } else if protocol.features & FEATURE_SNAPSHOT != 0 {
            held = Some(self.command(leaf::SNAPSHOT, Command::Take)).filter(|s| s.held);
        }
        // The exit that takes the snapshot is not in it.
        let taken_at = self.leaves.executed() - u64::from(held.is_some());
        let time_ns = monotonic_ns();
        let when = match held {
            Some(_) => When::Snapshot,
            None => When::Now,
        };
        let identity = match is_old {
            true => None,
            false => self.leaves.identity(when),
        };

        let (counters, cpuid_at) = self.counters(isa, protocol, when);
        let phases = self.leaves.phases(protocol, when);
        let total = held.map(|_| {
            let mut total = |leaf| self.leaves.number(when, leaf, 0).unwrap_or(0);
            (total(leaf::TOTAL_EXITS), total(leaf::TOTAL_CYCLES))
        });

        if let Some(held) = held {
            if self.command(leaf::SNAPSHOT, Command::Tell) != held {
                return Ok(Err(CONTENDED));
            }
            self.command(leaf::SNAPSHOT, Command::Release);
        }
        if is_old && self.command(OLD_SNAPSHOT, Command::Tell).held {
            return Ok(Err(CONTENDED));
        }
        let same = is_old || (identity.is_some() && self.leaves.identity(When::Now) == identity);
        let (after, ..) = self.leaves.protocol()?;
        if after != protocol || !same || identity.is_some_and(|i| i.epoch != protocol.epoch) {
            return Ok(Err(CHANGED));
        }
        // The host's total wraps at 2^64, and so does this sum.
        let tallies = counters.iter().map(Counter::tally);
        let sum = tallies.fold(Tally::default(), |sum, tally| sum + tally);
        if total.is_some_and(|total| total != (sum.exits, sum.cycles)) {
            return Ok(Err(CONTRADICTORY));
        }

        let before = if held.is_some() { taken_at } else { cpuid_at };
        Ok(Ok(Snapshot {
            version: VERSION,
            origin: match scope {
                Scope::Host => Origin::GuestOfHost,
                Scope::Vm => Origin::GuestOfVm,
                Scope::Vcpu => Origin::GuestOfVcpu,
            },
            isa,
            identity: identity.and_then(|identity| Id::new(identity.id)),
            epoch: protocol.epoch,
            tsc_khz: protocol.tsc_khz,
            time_ns,
            clock: None,
            machine: None,
            boot: self.boot.clone(),
            since_ns: None,
            period: None,
            cpus: None,
            recording: None,
            phases: Some(phases.is_some()),
            account: None,
            missed: None,
            reading: Some(Reading {
                at_once: held.is_some(),
                reader: self.reader,
                before,
                after: self.leaves.executed() - before,
            }),
            attached: Vec::new(),
            vm_names: Default::default(),
            counters,
            budgets: phases.into_iter().collect(),
            detail_kinds: Vec::new(),
            details: Vec::new(),
            code: None,
            places: Vec::new(),
        }))
    }

    /// Reads the counters of reasons with exits. Also says how many CPUIDs had been executed
    /// before it asked for the number of CPUID exits.
    fn counters(&mut self, isa: Isa, protocol: Protocol, when: When) -> (Vec<Counter>, u64) {
        let handled = |status| status == Status::Handled;
        let answers = self.leaves.reasons(isa, protocol, when, handled);
        let cpuid = answers.iter().find(|a| a.reason == reasons::cpuid(isa));
        let cpuid_at = cpuid.map_or(0, |answer| answer.executed);
        let is_old = protocol.version < FIRST_WITH_IDENTITY;
        let mut counters = Vec::new();
        for answer in answers {
            let (reason, Some((exits @ 1.., cycles))) = (answer.reason, answer.counted) else {
                continue;
            };
            let untimed = match is_old {
                true => None,
                false => self.leaves.number(when, leaf::UNTIMED, reason),
            };
            let mut counter = Counter {
                owner: Owner::All,
                reason: Some(reason),
                name: isa.name(reason).to_string().into(),
                exits,
                cycles,
                untimed,
                histogram: None,
                nested: None,
            };
            counter.settle();
            counters.push(counter);
        }
        if let Some((exits @ 1.., cycles)) = self.leaves.hidden(when) {
            counters.push(Counter {
                owner: Owner::Hidden,
                reason: None,
                name: "hidden".into(),
                exits,
                cycles,
                untimed: None,
                histogram: None,
                nested: None,
            });
        }
        (counters, cpuid_at)
    }
}

/// Identifies this boot of the system. Clocks of different boots cannot be compared.
fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().into())
}

/// Keeps this thread on one CPU until dropped.
struct Pinned(CpuSet);

impl Pinned {
    fn to(cpu: usize) -> Result<Pinned> {
        let before = sched_getaffinity(None).context("sched_getaffinity")?;
        let mut one = CpuSet::new();
        one.set(cpu);
        sched_setaffinity(None, &one).with_context(|| {
            format!("exitprof reads on CPU {cpu}, which is no longer available")
        })?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // If all of these CPUs are gone, the kernel has chosen others already.
        let _ = sched_setaffinity(None, &self.0);
    }
}
