// SPDX-License-Identifier: GPL-2.0

//! A guest's queries, and their answers.

use super::{
    counts::{Profile, Tally},
    isa::Isa,
    leaf::{
        join, split, Command, Identity, Protocol, Registers, SnapshotState, CYCLES, DISCOVERY,
        EXITS, HIDDEN, IDENTITY, PHASE, PRESENT, PROTOCOL, SNAPSHOT, TOTAL_CYCLES, TOTAL_EXITS,
        UNDEFINED, UNTIMED,
    },
    phases::Totals,
    reason::Kernel,
};

/// The counters that answer a guest's queries.
pub trait Responder {
    /// The instruction set of the reasons.
    fn isa(&self) -> Isa;

    /// The kernel whose handlers the reasons have.
    fn kernel(&self) -> Kernel;

    /// The answer of leaf [`PROTOCOL`].
    fn protocol(&self) -> Protocol;

    /// Executes `command` on the vCPU's snapshot.
    fn snapshot(&mut self, command: Command) -> SnapshotState;

    /// The identity of the counters; `None` if there is no snapshot.
    fn identity(&self, when: When) -> Option<Identity>;

    /// The counters; `None` if there is no snapshot.
    fn profile(&self, when: When) -> Option<&dyn Profile>;

    /// The cycles in each phase; `None` if there is no snapshot, or if phases are not
    /// recorded.
    fn phases(&self, when: When) -> Option<Totals>;
}

/// The time of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The time of the query.
    Now,
    /// The time of the vCPU's snapshot.
    Snapshot,
}

/// What a query reads from a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields.
pub enum Figure {
    /// Leaf [`HIDDEN`].
    Hidden,
    /// Leaf [`IDENTITY`].
    Identity,
    /// Leaf [`UNTIMED`].
    Untimed { reason: u32 },
    /// Leaf [`PHASE`].
    Phase { number: u32 },
    /// Leaf [`TOTAL_EXITS`].
    TotalExits,
    /// Leaf [`TOTAL_CYCLES`].
    TotalCycles,
    /// Leaf [`EXITS`].
    Exits { reason: u32 },
    /// Leaf [`CYCLES`].
    Cycles { reason: u32 },
}

impl Figure {
    /// The figure of a live leaf; `None` if the leaf has none.
    fn new(leaf: u32, subleaf: u32) -> Option<Figure> {
        Some(match leaf {
            HIDDEN => Figure::Hidden,
            IDENTITY => Figure::Identity,
            UNTIMED => Figure::Untimed { reason: subleaf },
            PHASE => Figure::Phase { number: subleaf },
            TOTAL_EXITS => Figure::TotalExits,
            TOTAL_CYCLES => Figure::TotalCycles,
            EXITS => Figure::Exits { reason: subleaf },
            CYCLES => Figure::Cycles { reason: subleaf },
            _ => return None,
        })
    }
}

/// A guest's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields.
pub enum Query {
    /// Leaf [`DISCOVERY`].
    Discovery,
    /// Leaf [`PROTOCOL`].
    Protocol,
    /// Leaf [`SNAPSHOT`].
    Snapshot { command: u32 },
    /// A leaf that answers a figure.
    Figure(When, Figure),
    /// Any other leaf of the block.
    Unassigned,
}

/// The answer to a guest's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number of exits.
    Exits(u64),
    /// A number of cycles.
    Cycles(u64),
    /// A number of exits, and a number of cycles.
    Both(u64, u64),
    /// The reason or subleaf is undefined, or there is no snapshot.
    Undefined,
    /// Anything else.
    Other(Registers),
}

impl Query {
    /// The query of leaf `eax` and subleaf `ecx`, which may be any numbers; `None` if the
    /// leaf is not in the block.
    pub fn new(eax: u32, ecx: u32) -> Option<Query> {
        if !(DISCOVERY..=CYCLES).contains(&eax) {
            return None;
        }
        let figure = |leaf| Figure::new(leaf, ecx);
        let (when, figure) = if eax & !0xf == SNAPSHOT {
            let digit = eax & 0xf;
            let (first, last) = (DISCOVERY | digit, 0x4fff_fff0 | digit);
            (When::Snapshot, figure(first).or_else(|| figure(last)))
        } else {
            (When::Now, figure(eax))
        };
        Some(match eax {
            DISCOVERY => Query::Discovery,
            PROTOCOL => Query::Protocol,
            SNAPSHOT => Query::Snapshot { command: ecx },
            _ => figure.map_or(Query::Unassigned, |figure| Query::Figure(when, figure)),
        })
    }

    /// The answer to the query.
    pub fn answer(self, responder: &mut impl Responder) -> Answer {
        match self {
            Query::Discovery => Answer::Other(PRESENT),
            Query::Protocol => Answer::Other(responder.protocol().into()),
            Query::Snapshot { command } => Command::from_number(command)
                .map_or(Answer::Undefined, |command| {
                    Answer::Other(responder.snapshot(command).into())
                }),
            Query::Figure(when, Figure::Identity) => responder
                .identity(when)
                .map_or(Answer::Undefined, |identity| Answer::Other(identity.into())),
            Query::Figure(when, Figure::Phase { number }) => responder
                .phases(when)
                .and_then(|totals| totals.cycles(number))
                .map_or(Answer::Undefined, Answer::Cycles),
            Query::Figure(when, figure) => {
                let (isa, kernel) = (responder.isa(), responder.kernel());
                let profile = responder.profile(when);
                profile
                    .and_then(|profile| figure.of(isa, kernel, profile))
                    .unwrap_or(Answer::Undefined)
            }
            Query::Unassigned => Answer::Other(Registers::default()),
        }
    }

    /// The answer in `r`: the inverse of `Registers::from`.
    pub fn decode(self, r: Registers) -> Answer {
        let figure = match self {
            Query::Figure(_, figure) => figure,
            Query::Snapshot { .. } if r == UNDEFINED => return Answer::Undefined,
            _ => return Answer::Other(r),
        };
        // A live leaf 02 is never undefined, whatever its numbers are. A snapshot's leaf 02
        // with these numbers would have cycles without an exit, which cannot be.
        let always = matches!(self, Query::Figure(When::Now, Figure::Hidden));
        if r == UNDEFINED && !always {
            return Answer::Undefined;
        }
        match figure {
            Figure::TotalExits | Figure::Exits { .. } | Figure::Untimed { .. } => {
                Answer::Exits(join(r.eax, r.ebx))
            }
            Figure::TotalCycles | Figure::Cycles { .. } | Figure::Phase { .. } => {
                Answer::Cycles(join(r.ecx, r.ebx))
            }
            Figure::Hidden => Answer::Both(join(r.eax, r.ebx), join(r.ecx, r.edx)),
            Figure::Identity => Answer::Other(r),
        }
    }
}

impl Figure {
    /// The answer from `profile`; `None` if the reason is undefined.
    fn of(self, isa: Isa, kernel: Kernel, profile: &dyn Profile) -> Option<Answer> {
        let visible = |reason| profile.visible(isa, kernel, reason);
        Some(match self {
            Figure::Hidden => {
                let Tally { exits, cycles, .. } = profile.hidden(isa, kernel);
                Answer::Both(exits, cycles)
            }
            Figure::TotalExits => Answer::Exits(profile.total().exits),
            Figure::TotalCycles => Answer::Cycles(profile.total().cycles),
            Figure::Exits { reason } => Answer::Exits(visible(reason)?.exits),
            Figure::Cycles { reason } => Answer::Cycles(visible(reason)?.cycles),
            Figure::Untimed { reason } => Answer::Exits(visible(reason)?.untimed),
            Figure::Identity | Figure::Phase { .. } => return None,
        })
    }
}

impl From<Answer> for Registers {
    fn from(answer: Answer) -> Registers {
        match answer {
            Answer::Exits(exits) => {
                let (eax, ebx) = split(exits);
                Registers {
                    eax,
                    ebx,
                    ..Registers::default()
                }
            }
            Answer::Cycles(cycles) => {
                let (ecx, ebx) = split(cycles);
                Registers {
                    ebx,
                    ecx,
                    ..Registers::default()
                }
            }
            Answer::Both(exits, cycles) => {
                let (eax, ebx) = split(exits);
                let (ecx, edx) = split(cycles);
                Registers { eax, ebx, ecx, edx }
            }
            Answer::Undefined => UNDEFINED,
            Answer::Other(registers) => registers,
        }
    }
}
