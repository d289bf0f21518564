// SPDX-License-Identifier: GPL-2.0

//! The CPUID leaves by which a guest reads the profile.
//!
//! | EAX in     | asks for                    | EAX        | EBX          | ECX         | EDX          |
//! |------------|-----------------------------|------------|--------------|-------------|--------------|
//! | 0x4FFFFFFC | exits, all reasons          | exits 31:0 | exits 63:32  | 0           | 0            |
//! | 0x4FFFFFFD | cycles, all reasons         | 0          | cycles 63:32 | cycles 31:0 | 0            |
//! | 0x4FFFFFFE | exits of reason ECX         | exits 31:0 | exits 63:32  | 0           | 0            |
//! | 0x4FFFFFFF | cycles of reason ECX        | 0          | cycles 63:32 | cycles 31:0 | 0            |
//! | 0x4FFFFF00 | discovery                   | 0x4FFFFFFF | "KVME"       | "xitP"      | "rof\0"      |
//! | 0x4FFFFF01 | protocol                    | [`Protocol`] |            |             |              |
//! | 0x4FFFFF02 | what FE and FF hide         | exits 31:0 | exits 63:32  | cycles 31:0 | cycles 63:32 |
//! | 0x4FFFFF04 | identity of what is counted | [`Identity`] |            |             |              |
//! | 0x4FFFFF05 | untimed exits of reason ECX | exits 31:0 | exits 63:32  | 0           | 0            |
//! | 0x4FFFFFE0 | the snapshot, by subleaf    | [`Snapshot`] |            |             |              |
//! | 0x4FFFFFEx | as the leaf that ends with the same digit x, but of the snapshot ||  |    |              |
//!
//! FC to FF are in the numbering of the Fall 2022 term of the assignment that they
//! come from; other terms gave the same leaves other meanings.
//!
//! A reason is VMX's basic exit reason, or SVM's exit code. One that is not
//! defined answers EDX = 0xFFFFFFFF and zeros, one that KVM does not handle
//! answers zeros. The rest of the block 0x4FFFFF00-0x4FFFFFFF answers zeros.
//!
//! Reading causes exits, so that leaves read one after another belong to different
//! times. A snapshot belongs to one time: there, EC is the sum of all EE and of E2,
//! and ED that of all EF and of E2. Each vCPU has one of its own. Subleaf 1 of E0 takes
//! it in place of one that the vCPU holds, 0 releases it, 2 only tells; other subleaves
//! are undefined. Without a snapshot, E2, E4, E5 and EC to EF answer EDX = 0xFFFFFFFF
//! and zeros. The other leaves never answer from it.

use super::{
    counts::{Profile, Tally},
    isa::Isa,
};

/// The registers that CPUID reads (EAX, ECX) and writes (all).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Registers {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

/// The halves of a 64-bit number, as two registers hold it: (31:0, 63:32).
pub const fn split(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// The number whose halves are in two registers: the inverse of [`split`].
pub const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The discovery leaf, and the first of the block.
pub const DISCOVERY: u32 = 0x4fff_ff00;
/// The leaf of [`Protocol`].
pub const PROTOCOL: u32 = 0x4fff_ff01;
/// The leaf of what [`EXITS`] and [`CYCLES`] hide: [`Profile::hidden`].
pub const HIDDEN: u32 = 0x4fff_ff02;
/// The leaf of [`Identity`].
pub const IDENTITY: u32 = 0x4fff_ff04;
/// The leaf of the exits of a reason that were not timed.
pub const UNTIMED: u32 = 0x4fff_ff05;
/// The leaf of the vCPU's [`Snapshot`], and the first of those that answer from it.
pub const SNAPSHOT: u32 = 0x4fff_ffe0;
/// The leaf of all exits.
pub const TOTAL_EXITS: u32 = 0x4fff_fffc;
/// The leaf of the cycles in all exits.
pub const TOTAL_CYCLES: u32 = 0x4fff_fffd;
/// The leaf of the exits of a reason.
pub const EXITS: u32 = 0x4fff_fffe;
/// The leaf of the cycles in exits of a reason, and the last of the block.
pub const CYCLES: u32 = 0x4fff_ffff;

/// The leaf that answers what `leaf` does, but of the snapshot.
pub const fn of_snapshot(leaf: u32) -> u32 {
    SNAPSHOT | (leaf & 0xf)
}

/// What [`DISCOVERY`] answers: the highest leaf, and a signature in EBX, ECX,
/// EDX. Without a profiler KVM answers the guest's highest basic leaf, or zeros:
/// neither says anything.
pub const PRESENT: Registers = Registers {
    eax: CYCLES,
    ebx: u32::from_le_bytes(*b"KVME"),
    ecx: u32::from_le_bytes(*b"xitP"),
    edx: u32::from_le_bytes(*b"rof\0"),
};

/// What is answered for a reason or subleaf that is not defined, and for a snapshot
/// that is not held.
pub const UNDEFINED: Registers = Registers {
    eax: 0,
    ebx: 0,
    ecx: 0,
    edx: u32::MAX,
};

/// The version of this protocol. Version 3 gave the snapshot leaves of its own, in
/// place of leaf 0x4FFFFF03, and brought [`IDENTITY`] and [`UNTIMED`].
pub const VERSION: u16 = 3;

/// Whose exits the leaves answer; its number in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Scope {
    /// Those of all guests of the host.
    Host = 1,
    /// Those of the VM that asks.
    Vm = 2,
    /// Those of the vCPU that asks.
    Vcpu = 3,
}

impl Scope {
    /// The scope with that number in the protocol.
    pub fn from_number(number: u8) -> Option<Scope> {
        [Scope::Host, Scope::Vm, Scope::Vcpu]
            .iter()
            .copied()
            .find(|&scope| scope as u8 == number)
    }
}

/// The bit among the features of [`Protocol`] that says that there are snapshots.
pub const FEATURE_SNAPSHOT: u32 = 1;

/// What a guest can do with its vCPU's snapshot: a subleaf of [`SNAPSHOT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Hold none.
    Release = 0,
    /// Take one, in place of the one held.
    Take = 1,
    /// Only tell.
    Tell = 2,
}

impl Command {
    /// The command of that subleaf.
    pub fn from_number(number: u32) -> Option<Command> {
        [Command::Release, Command::Take, Command::Tell]
            .iter()
            .copied()
            .find(|&command| command as u32 == number)
    }
}

/// The answer of leaf [`SNAPSHOT`], after what was asked for is done.
///
/// | register | meaning                                                           |
/// |----------|-------------------------------------------------------------------|
/// | EAX      | 1 if the vCPU holds a snapshot, or 0: also if there is no memory, |
/// |          | or while the counters are set to zero                             |
/// | EBX      | how many it has taken, modulo 2^32                                |
///
/// It is held until it is released or replaced, the counters start from zero, the
/// scope changes, or the vCPU is reset. A reader that finds EAX and EBX unchanged at
/// the end has read that one snapshot only, whoever else runs on the vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the vCPU holds a snapshot.
    pub held: bool,
    /// How many it has taken, modulo 2^32.
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

/// What is counted, in leaf [`IDENTITY`]: two readings may be subtracted from each
/// other only if they have the same.
///
/// | register | meaning                                                            |
/// |----------|--------------------------------------------------------------------|
/// | EAX      | bits 31:0 of a random number of the host, VM or vCPU (see scope):  |
/// |          | another one for another VM or vCPU, or when the module is reloaded |
/// | EBX      | bits 63:32 of that                                                 |
/// | ECX      | epoch: another value when the counters start from zero, and 0      |
/// |          | while they do                                                      |
/// | EDX      | 0                                                                  |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// A random number of the host, VM or vCPU; not 0.
    pub id: u64,
    /// Another value when the counters start from zero, 0 while they do.
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

/// How the profiler describes itself in leaf [`PROTOCOL`].
///
/// | register | bits  | meaning                                                |
/// |----------|-------|--------------------------------------------------------|
/// | EAX      | 15:0  | version of the protocol                                |
/// | EAX      | 23:16 | instruction set: 1 VMX, 2 SVM                          |
/// | EAX      | 31:24 | scope: 1 host, 2 the VM that asks, 3 the vCPU          |
/// | EBX      | 0     | there are snapshots: [`SNAPSHOT`]                      |
/// | EBX      | 31:1  | features yet to come: 0                                |
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
    /// Feature bits.
    pub features: u32,
    /// Another value when the counters start from zero, 0 while they do.
    pub epoch: u32,
    /// The frequency of the host's TSC in kHz, 0 if unknown; may be refined
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

/// What answers a guest's queries.
pub trait Responder {
    /// The instruction set that the reasons belong to.
    fn isa(&self) -> Isa;

    /// How it describes itself.
    fn protocol(&self) -> Protocol;

    /// Does what `command` says to the vCPU's snapshot.
    fn snapshot(&mut self, command: Command) -> Snapshot;

    /// What is counted `when`; `None` if there is no such snapshot.
    fn identity(&self, when: When) -> Option<Identity>;

    /// What was counted `when`; `None` if there is no such snapshot.
    fn profile(&self, when: When) -> Option<&dyn Profile>;
}

/// The time that a figure is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// That of the query.
    Now,
    /// That of the vCPU's snapshot.
    Snapshot,
}

/// What is read of a profile.
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
    /// The figure of a leaf's last digit.
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

/// What a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields.
pub enum Query {
    /// Leaf [`DISCOVERY`].
    Discovery,
    /// Leaf [`PROTOCOL`].
    Protocol,
    /// Leaf [`SNAPSHOT`].
    Snapshot { command: u32 },
    /// A leaf of figures.
    Figure(When, Figure),
    /// Any other leaf of the block.
    Unassigned,
}

/// What a guest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A number of exits.
    Exits(u64),
    /// A number of cycles.
    Cycles(u64),
    /// A number of exits, and of cycles.
    Both(u64, u64),
    /// There is no such reason, subleaf or snapshot.
    Undefined,
    /// Something else.
    Other(Registers),
}

impl Query {
    /// The query for leaf `eax` and subleaf `ecx`, both any number; `None` if the
    /// leaf is not in our block.
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

    /// What is answered.
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

    /// The answer that the registers hold: the inverse of `Registers::from`.
    pub fn decode(self, r: Registers) -> Answer {
        let figure = match self {
            Query::Figure(_, figure) => figure,
            Query::Snapshot { .. } if r == UNDEFINED => return Answer::Undefined,
            _ => return Answer::Other(r),
        };
        // All registers of what is hidden are numbers. Now, it is never undefined; and no
        // snapshot hides cycles without an exit.
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
    /// The answer from `profile`; `None` for a reason that is not defined.
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
