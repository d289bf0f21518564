// SPDX-License-Identifier: GPL-2.0
//! Everything that a guest can read, as the design's table of leaves has it.
//!
//! Like [`crate::oracle::leaf`], this is written out and not taken from the model.

use crate::harness::random::Query;
use crate::oracle::leaf;
use crate::vmm::cpu::{self, reasons};
use crate::vmm::guest::{GARBAGE, Program, Regs};
use crate::vmm::vm::{Vcpu, Vm};
use anyhow::{Result, bail, ensure};
use profile::counts::{Profile, Tally};
use profile::leaf::{
    Command, Identity, Protocol, Query as ModelQuery, Registers, Responder, Snapshot, When,
};
use profile::{isa::Isa, reason::Status};
use std::collections::{BTreeMap, BTreeSet};

/// What exits and cycles are counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Total,
    Hidden,
    Reason(u32),
}

/// Exits, cycles, and, of a reason, exits that were not timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub exits: u64,
    pub cycles: u64,
    pub untimed: u64,
}

impl Counts {
    /// Whether none of them is more than in `later`.
    fn is_before(self, later: Self) -> bool {
        self.exits <= later.exits && self.cycles <= later.cycles && self.untimed <= later.untimed
    }

    fn max(self, other: Self) -> Self {
        Self {
            exits: self.exits.max(other.exits),
            cycles: self.cycles.max(other.cycles),
            untimed: self.untimed.max(other.untimed),
        }
    }
}

/// What an answer says of a row's counts.
#[derive(Clone, Copy)]
pub enum Figure {
    Exits,
    Cycles,
    /// Exits and cycles.
    Both,
    Untimed,
}

impl Figure {
    /// What it says of them; the rest is 0.
    fn of(self, all: Counts) -> Counts {
        let nothing = Counts::default();
        let Counts {
            exits,
            cycles,
            untimed,
        } = all;
        match self {
            Self::Exits => Counts { exits, ..nothing },
            Self::Cycles => Counts { cycles, ..nothing },
            Self::Untimed => Counts { untimed, ..nothing },
            Self::Both => Counts { untimed: 0, ..all },
        }
    }

    /// The answer that says it.
    fn answer(self, of: Counts) -> Regs {
        let halves = |value: u64| (value as u32, (value >> 32) as u32);
        let (exits, cycles, untimed) = (halves(of.exits), halves(of.cycles), halves(of.untimed));
        match self {
            Self::Exits => [exits.0, exits.1, 0, 0],
            Self::Cycles => [0, cycles.1, cycles.0, 0],
            Self::Untimed => [untimed.0, untimed.1, 0, 0],
            Self::Both => [exits.0, exits.1, cycles.0, cycles.1],
        }
    }

    /// What the answer says.
    pub fn read(self, got: Regs) -> Result<Counts> {
        let mut counts = Counts::default();
        match self {
            Self::Exits => counts.exits = leaf::exits(got)?,
            Self::Cycles => counts.cycles = leaf::cycles(got)?,
            Self::Untimed => counts.untimed = leaf::exits(got)?,
            Self::Both => (counts.exits, counts.cycles) = leaf::hidden(got),
        }
        Ok(counts)
    }
}

/// What the design says about an answer.
#[derive(Clone, Copy)]
pub enum Want {
    Is(Regs),
    Counts(Figure, Row),
    /// Something about the vCPU's snapshot, to which this was done.
    Snapshot(u32),
}

/// The leaf that answers of the present what `leaf` does of the snapshot, if that
/// is one of those.
pub fn live(leaf: u32) -> Option<u32> {
    match leaf {
        0x4fff_ffe2 | 0x4fff_ffe4 | 0x4fff_ffe5 => Some(leaf - 0xe0),
        0x4fff_ffec..=0x4fff_ffef => Some(leaf + 0x10),
        _ => None,
    }
}

/// Exits and cycles by row, and what describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    pub protocol: Regs,
    pub identity: Regs,
    pub rows: BTreeMap<Row, Counts>,
    unhandled: BTreeSet<u32>,
}

impl Book {
    /// What a guest reads that is left in peace.
    pub fn read(vm: &mut Vm) -> Result<Self> {
        Self::read_on(&mut vm.vcpus[0])
    }

    /// The same, on one of its vCPUs.
    pub fn read_on(vcpu: &mut Vcpu) -> Result<Self> {
        Self::read_as(vcpu, |leaf| leaf)
    }

    /// What the vCPU's snapshot has, which it must hold.
    pub fn of_snapshot(vcpu: &mut Vcpu) -> Result<Self> {
        Self::read_as(vcpu, leaf::of_snapshot)
    }

    fn read_as(vcpu: &mut Vcpu, of: impl Fn(u32) -> u32) -> Result<Self> {
        let mut program = Program::new();
        let protocol = program.cpuid(leaf::PROTOCOL, GARBAGE);
        let identity = program.cpuid(of(leaf::IDENTITY), GARBAGE);
        let mut figures = Vec::new();
        let mut add = |row, figure, eax, ecx| {
            figures.push((row, figure, program.cpuid(of(eax), ecx)));
        };
        add(Row::Hidden, Figure::Both, leaf::HIDDEN, GARBAGE);
        add(Row::Total, Figure::Exits, leaf::TOTAL_EXITS, GARBAGE);
        add(Row::Total, Figure::Cycles, leaf::TOTAL_CYCLES, GARBAGE);
        for reason in reasons(Status::Handled) {
            let row = Row::Reason(reason);
            add(row, Figure::Exits, leaf::EXITS, reason);
            add(row, Figure::Cycles, leaf::CYCLES, reason);
            add(row, Figure::Untimed, leaf::UNTIMED, reason);
        }
        let answers = vcpu.run(&program)?;
        let mut rows = BTreeMap::<_, Counts>::new();
        for (row, figure, at) in figures {
            let counts = rows.entry(row).or_default();
            *counts = counts.max(figure.read(answers[at])?);
        }
        Ok(Self {
            protocol: answers[protocol],
            identity: answers[identity],
            rows,
            unhandled: reasons(Status::Unhandled).into_iter().collect(),
        })
    }

    /// What the design says about the answer to a query for the block: of the
    /// present or, where the leaf asks for that, of a snapshot that is held.
    pub fn want(&self, (eax, ecx): Query) -> Result<Want> {
        let of_reason = |figure| {
            let row = Row::Reason(ecx);
            match self.unhandled.contains(&ecx) {
                _ if self.rows.contains_key(&row) => Want::Counts(figure, row),
                true => Want::Is([0; 4]),
                false => Want::Is(leaf::UNDEFINED),
            }
        };
        Ok(match live(eax).unwrap_or(eax) {
            0x4fff_ff00 => Want::Is(leaf::PRESENT),
            0x4fff_ff01 => Want::Is(self.protocol),
            0x4fff_ff02 => Want::Counts(Figure::Both, Row::Hidden),
            0x4fff_ff04 => Want::Is(self.identity),
            0x4fff_ff05 => of_reason(Figure::Untimed),
            0x4fff_fffc => Want::Counts(Figure::Exits, Row::Total),
            0x4fff_fffd => Want::Counts(Figure::Cycles, Row::Total),
            0x4fff_fffe => of_reason(Figure::Exits),
            0x4fff_ffff => of_reason(Figure::Cycles),
            0x4fff_ffe0 if ecx <= 2 => Want::Snapshot(ecx),
            0x4fff_ffe0 => Want::Is(leaf::UNDEFINED),
            0x4fff_ff03 | 0x4fff_ff06..0x4fff_fffc => Want::Is([0; 4]),
            _ => bail!("not what KVM itself answers"),
        })
    }

    /// The answer while nothing is recorded, for a vCPU that `held` follows; none
    /// for what changes that.
    pub fn answer(&self, query: Query, held: Held) -> Result<Option<Regs>> {
        if live(query.0).is_some() && !held.held {
            return Ok(Some(leaf::UNDEFINED));
        }
        Ok(match self.want(query)? {
            Want::Snapshot(_) => None,
            Want::Is(regs) => Some(regs),
            Want::Counts(figure, row) => Some(figure.answer(self.rows[&row])),
        })
    }

    /// Demands that an answer is what it has to be while nothing is recorded, for
    /// a vCPU that `held` follows.
    pub fn is_frozen(&self, query: Query, got: Regs, held: &mut Held) -> Result<()> {
        match self.answer(query, *held)? {
            Some(want) => ensure!(got == want, "want {want:x?}, {held:?}"),
            None => held.follow(query.1, got)?,
        }
        Ok(())
    }

    /// Demands that no row counts more than in `later`.
    pub fn is_before(&self, later: &Self) -> Result<()> {
        let same = self.protocol == later.protocol && self.identity == later.identity;
        ensure!(same, "the protocol or the identity changed");
        for (row, &counts) in &self.rows {
            let most = later.rows[row];
            ensure!(
                counts.is_before(most),
                "{row:?} was {counts:?}, later {most:?}"
            );
        }
        Ok(())
    }
}

/// What a vCPU's guest knows of its snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    pub held: bool,
    taken: u32,
}

impl Held {
    /// Demands that an answer of leaf E0 is what comes of `command`.
    pub fn follow(&mut self, command: u32, got: Regs) -> Result<()> {
        let (held, taken) = leaf::is_snapshot(got)?;
        let want = match command {
            0 => (false, self.taken),
            1 => (true, self.taken.wrapping_add(1)),
            _ => (self.held, self.taken),
        };
        ensure!((held, taken) == want, "want {want:?}, before {self:?}");
        *self = Self { held, taken };
        Ok(())
    }
}

/// Follows the answers that a vCPU gets while exits are counted: no number of the
/// present falls; and none of a snapshot changes, which was the present when that
/// was taken.
pub struct Rising {
    /// What was read last.
    pub book: Book,
    pub held: Held,
    /// What had been read when the snapshot was taken, and what of it since.
    before: BTreeMap<Row, Counts>,
    seen: BTreeMap<Query, Regs>,
}

impl Rising {
    pub fn new(book: Book) -> Self {
        Self {
            book,
            held: Held::default(),
            before: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Demands that an answer fits those before it.
    pub fn follow(&mut self, query: Query, got: Regs) -> Result<()> {
        let of_snapshot = live(query.0).is_some();
        if of_snapshot && !self.held.held {
            ensure!(got == leaf::UNDEFINED, "there is no snapshot");
            return Ok(());
        }
        let (figure, row) = match self.book.want(query)? {
            Want::Is(want) => {
                ensure!(got == want, "want {want:x?}");
                return Ok(());
            }
            Want::Snapshot(command) => {
                self.held.follow(command, got)?;
                if command == 1 {
                    self.before.clone_from(&self.book.rows);
                    self.seen.clear();
                }
                return Ok(());
            }
            Want::Counts(figure, row) => (figure, row),
        };
        let new = figure.read(got)?;
        let last = self.book.rows.entry(row).or_default();
        let least = if of_snapshot {
            let seen = *self.seen.entry(query).or_insert(got);
            ensure!(got == seen, "the snapshot had {seen:x?}");
            self.before[&row]
        } else {
            *last
        };
        let least = figure.of(least);
        ensure!(
            least.is_before(new),
            "{row:?} fell from {least:?} to {new:?}"
        );
        // What is in a snapshot was there, too.
        *last = last.max(new);
        Ok(())
    }
}

/// The model's own idea of the answers, from the same rows.
pub struct Model {
    isa: Isa,
    slots: Vec<Tally>,
    protocol: Protocol,
    identity: Identity,
}

impl Model {
    pub fn new(book: &Book) -> Self {
        let isa = cpu::isa();
        let mut slots = vec![Tally::default(); isa.slots()];
        for (&row, &counts) in &book.rows {
            let slot = match row {
                Row::Total => continue,
                // Of the slots that are hidden one may have it all.
                Row::Hidden => isa.slots() - 1,
                Row::Reason(reason) => isa.slot(reason),
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
            protocol: registers(book.protocol).into(),
            identity: registers(book.identity).into(),
        }
    }

    /// The answer to a vCPU that `held` follows.
    pub fn answer(&self, (eax, ecx): Query, held: Held) -> Option<Regs> {
        let mut guest = ModelGuest(self, held);
        let answer = ModelQuery::new(eax, ecx)?.answer(&mut guest);
        let Registers { eax, ebx, ecx, edx } = answer.into();
        Some([eax, ebx, ecx, edx])
    }
}

struct ModelGuest<'a>(&'a Model, Held);

impl Responder for ModelGuest<'_> {
    fn isa(&self) -> Isa {
        self.0.isa
    }

    fn protocol(&self) -> Protocol {
        self.0.protocol
    }

    /// Not what a guest is to be compared with.
    fn snapshot(&mut self, _: Command) -> Snapshot {
        Snapshot::default()
    }

    fn identity(&self, when: When) -> Option<Identity> {
        (when == When::Now || self.1.held).then_some(self.0.identity)
    }

    fn profile(&self, when: When) -> Option<&dyn Profile> {
        (when == When::Now || self.1.held).then_some(self.0)
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
