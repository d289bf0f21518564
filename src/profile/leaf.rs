// SPDX-License-Identifier: GPL-2.0

//! The CPUID leaves by which a guest reads the profile: queries, and their answers in
//! registers.
//!
//! README.md in this folder has the table of all leaves.

use super::{
    counts::{Profile, Tally},
    isa::Isa,
};

/// The registers that CPUID reads (EAX and ECX) and writes (all).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Registers {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// The halves of a 64-bit number for two registers: bits 31:0, and bits 63:32.
pub const fn split(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// The 64-bit number of two registers: the inverse of [`split`].
pub const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The discovery leaf, and the first leaf of the block.
pub const DISCOVERY: u32 = 0x4fff_ff00;
/// The leaf of [`Protocol`].
pub const PROTOCOL: u32 = 0x4fff_ff01;
/// The leaf of the exits and cycles that [`EXITS`] and [`CYCLES`] hide: see
/// [`Profile::hidden`].
pub const HIDDEN: u32 = 0x4fff_ff02;
/// The leaf of [`Identity`].
pub const IDENTITY: u32 = 0x4fff_ff04;
/// The leaf of the untimed exits of a reason.
pub const UNTIMED: u32 = 0x4fff_ff05;
/// The leaf of the vCPU's [`Snapshot`], and the first leaf that answers from it.
pub const SNAPSHOT: u32 = 0x4fff_ffe0;
/// The leaf of the exits of all reasons.
pub const TOTAL_EXITS: u32 = 0x4fff_fffc;
/// The leaf of the cycles of all reasons.
pub const TOTAL_CYCLES: u32 = 0x4fff_fffd;
/// The leaf of the exits of a reason.
pub const EXITS: u32 = 0x4fff_fffe;
/// The leaf of the cycles of a reason, and the last leaf of the block.
pub const CYCLES: u32 = 0x4fff_ffff;

/// The leaf that answers the same as `leaf`, but from the snapshot.
pub const fn of_snapshot(leaf: u32) -> u32 {
    SNAPSHOT | (leaf & 0xf)
}

/// The answer of [`DISCOVERY`]: the highest leaf in EAX, and a signature in EBX, ECX and
/// EDX. Without a profiler, KVM answers the guest's highest basic leaf, or zeros.
pub const PRESENT: Registers = Registers {
    eax: CYCLES,
    ebx: u32::from_le_bytes(*b"KVME"),
    ecx: u32::from_le_bytes(*b"xitP"),
    edx: u32::from_le_bytes(*b"rof\0"),
};

/// The answer for an undefined reason or subleaf, and for a snapshot that is not held.
pub const UNDEFINED: Registers = Registers {
    eax: 0,
    ebx: 0,
    ecx: 0,
    edx: u32::MAX,
};

/// The version of this protocol. Version 3 replaced leaf 0x4FFFFF03 by the snapshot's own
/// leaves, and added [`IDENTITY`] and [`UNTIMED`].
pub const VERSION: u16 = 3;

/// Whose exits the leaves answer, by its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// The exits of all guests of the host.
    Host = 1,
    /// The exits of the VM that asks.
    Vm = 2,
    /// The exits of the vCPU that asks.
    Vcpu = 3,
}

impl Scope {
    /// The inverse of `as u8`.
    pub fn from_number(number: u8) -> Option<Scope> {
        [Scope::Host, Scope::Vm, Scope::Vcpu]
            .iter()
            .copied()
            .find(|&scope| scope as u8 == number)
    }
}

/// The feature bit of [`Protocol`] that says that snapshots are available.
pub const FEATURE_SNAPSHOT: u32 = 1;

/// What a guest does with its vCPU's snapshot: a subleaf of [`SNAPSHOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Release the snapshot.
    Release = 0,
    /// Take a snapshot, and release the one before.
    Take = 1,
    /// Change nothing, and only read the state.
    Tell = 2,
}

impl Command {
    /// The inverse of `as u32`.
    pub fn from_number(number: u32) -> Option<Command> {
        [Command::Release, Command::Take, Command::Tell]
            .iter()
            .copied()
            .find(|&command| command as u32 == number)
    }
}

/// The answer of leaf [`SNAPSHOT`], after the [`Command`] is done.
///
/// | register | meaning                                                            |
/// |----------|--------------------------------------------------------------------|
/// | EAX      | 1 if the vCPU holds a snapshot; 0 if not: also if there was no     |
/// |          | memory, or while the counters restart from zero                    |
/// | EBX      | the number of snapshots that the vCPU has taken, modulo 2^32       |
///
/// The vCPU holds a snapshot until it is released or replaced, the counters restart from
/// zero, the scope changes, or the vCPU is reset. If a reader finds EAX and EBX unchanged
/// at the end, all its answers came from one snapshot, whoever else runs on the vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the vCPU holds a snapshot.
    pub held: bool,
    /// The number of snapshots that it has taken, modulo 2^32.
    pub taken: u32,
}

impl From<Snapshot> for Registers {
    fn from(snapshot: Snapshot) -> Registers {
        Registers {
            eax: snapshot.held.into(),
            ebx: snapshot.taken,
            ..Registers::default()
        }
    }
}

impl From<Registers> for Snapshot {
    fn from(r: Registers) -> Snapshot {
        Snapshot {
            held: r.eax != 0,
            taken: r.ebx,
        }
    }
}

/// The identity of the counters, in leaf [`IDENTITY`]. Two readings may be subtracted
/// from each other only if they have the same identity.
///
/// | register | meaning                                                            |
/// |----------|--------------------------------------------------------------------|
/// | EAX      | bits 31:0 of the random number of the host, VM or vCPU, by scope   |
/// | EBX      | bits 63:32 of it                                                   |
/// | ECX      | epoch: changes when the counters restart from zero, 0 meanwhile    |
/// | EDX      | 0                                                                  |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The random number of the host, VM or vCPU; not 0. The host gets another one when
    /// the module is loaded again.
    pub id: u64,
    /// Changes when the counters restart from zero; 0 while they do.
    pub epoch: u32,
}

impl From<Identity> for Registers {
    fn from(identity: Identity) -> Registers {
        let (eax, ebx) = split(identity.id);
        Registers {
            eax,
            ebx,
            ecx: identity.epoch,
            edx: 0,
        }
    }
}

impl From<Registers> for Identity {
    fn from(r: Registers) -> Identity {
        Identity {
            id: join(r.eax, r.ebx),
            epoch: r.ecx,
        }
    }
}

/// The profiler's description of itself, in leaf [`PROTOCOL`].
///
/// | register | bits  | meaning                                                |
/// |----------|-------|--------------------------------------------------------|
/// | EAX      | 15:0  | version of the protocol                                |
/// | EAX      | 23:16 | instruction set: 1 VMX, 2 SVM                          |
/// | EAX      | 31:24 | scope: 1 host, 2 the VM that asks, 3 the vCPU          |
/// | EBX      | 0     | snapshots are available: [`SNAPSHOT`]                  |
/// | EBX      | 31:1  | reserved for features: 0                               |
/// | ECX      | 31:0  | epoch: as in [`Identity`]                              |
/// | EDX      | 31:0  | frequency of the host's TSC in kHz, 0 if unknown       |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// The version of the protocol: [`VERSION`].
    pub version: u16,
    /// The number of an [`Isa`].
    pub isa: u8,
    /// The number of a [`Scope`].
    pub scope: u8,
    /// The feature bits.
    pub features: u32,
    /// The epoch of [`Identity`].
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz; 0 if unknown. The kernel may refine it
    /// once after boot.
    pub tsc_khz: u32,
}

impl From<Protocol> for Registers {
    fn from(p: Protocol) -> Registers {
        Registers {
            eax: u32::from(p.version) | u32::from(p.isa) << 16 | u32::from(p.scope) << 24,
            ebx: p.features,
            ecx: p.epoch,
            edx: p.tsc_khz,
        }
    }
}

impl From<Registers> for Protocol {
    fn from(r: Registers) -> Protocol {
        let [v0, v1, isa, scope] = r.eax.to_le_bytes();
        Protocol {
            version: u16::from_le_bytes([v0, v1]),
            isa,
            scope,
            features: r.ebx,
            epoch: r.ecx,
            tsc_khz: r.edx,
        }
    }
}

/// The counters that answer a guest's queries.
pub trait Responder {
    /// The instruction set of the reasons.
    fn isa(&self) -> Isa;

    /// The answer of leaf [`PROTOCOL`].
    fn protocol(&self) -> Protocol;

    /// Executes `command` on the vCPU's snapshot.
    fn snapshot(&mut self, command: Command) -> Snapshot;

    /// The identity of the counters; `None` if there is no snapshot.
    fn identity(&self, when: When) -> Option<Identity>;

    /// The counters; `None` if there is no snapshot.
    fn profile(&self, when: When) -> Option<&dyn Profile>;
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
            Query::Figure(when, figure) => {
                let isa = responder.isa();
                let profile = responder.profile(when);
                profile
                    .and_then(|profile| figure.of(isa, profile))
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
            Figure::TotalCycles | Figure::Cycles { .. } => Answer::Cycles(join(r.ecx, r.ebx)),
            Figure::Hidden => Answer::Both(join(r.eax, r.ebx), join(r.ecx, r.edx)),
            Figure::Identity => Answer::Other(r),
        }
    }
}

impl Figure {
    /// The answer from `profile`; `None` if the reason is undefined.
    fn of(self, isa: Isa, profile: &dyn Profile) -> Option<Answer> {
        let visible = |reason| profile.visible(isa, reason);
        Some(match self {
            Figure::Hidden => {
                let Tally { exits, cycles, .. } = profile.hidden(isa);
                Answer::Both(exits, cycles)
            }
            Figure::TotalExits => Answer::Exits(profile.total().exits),
            Figure::TotalCycles => Answer::Cycles(profile.total().cycles),
            Figure::Exits { reason } => Answer::Exits(visible(reason)?.exits),
            Figure::Cycles { reason } => Answer::Cycles(visible(reason)?.cycles),
            Figure::Untimed { reason } => Answer::Exits(visible(reason)?.untimed),
            Figure::Identity => return None,
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
