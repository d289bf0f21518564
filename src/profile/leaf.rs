// SPDX-License-Identifier: GPL-2.0

//! The CPUID leaves by which a guest reads the profile.
//!
//! | EAX in     | asks for                 | EAX        | EBX          | ECX         | EDX          |
//! |------------|--------------------------|------------|--------------|-------------|--------------|
//! | 0x4FFFFFFC | exits, all reasons       | exits 31:0 | exits 63:32  | 0           | 0            |
//! | 0x4FFFFFFD | cycles, all reasons      | 0          | cycles 63:32 | cycles 31:0 | 0            |
//! | 0x4FFFFFFE | exits of reason ECX      | exits 31:0 | exits 63:32  | 0           | 0            |
//! | 0x4FFFFFFF | cycles of reason ECX     | 0          | cycles 63:32 | cycles 31:0 | 0            |
//! | 0x4FFFFF00 | discovery                | 0x4FFFFFFF | "KVME"       | "xitP"      | "rof\0"      |
//! | 0x4FFFFF01 | protocol                 | [`Protocol`] |            |             |              |
//! | 0x4FFFFF02 | what FE and FF hide      | exits 31:0 | exits 63:32  | cycles 31:0 | cycles 63:32 |
//! | 0x4FFFFF03 | a snapshot, by ECX       | [`Snapshot`] |            |             |              |
//!
//! A reason is VMX's basic exit reason, or SVM's exit code. One that is not
//! defined answers EDX = 0xFFFFFFFF and zeros, one that KVM does not handle
//! answers zeros. The rest of the block 0x4FFFFF00–0x4FFFFFFF answers zeros.
//!
//! Reading causes exits, so that leaves read one after another belong to different
//! times. Those of exits and cycles (02, FC to FF) answer from the vCPU's snapshot
//! while it holds one: there, FC is the sum of all FE and of 02, and FD that of all
//! FF and of 02. Leaf 03 takes a snapshot for the vCPU that asks (ECX = 1) in place
//! of one that it holds, releases it (0), or only tells (2); other ECX are undefined.

use super::counts::{Profile, Sample};
use core::fmt;

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
/// The leaf of the vCPU's [`Snapshot`].
pub const SNAPSHOT: u32 = 0x4fff_ff03;
/// The leaf of all exits.
pub const TOTAL_EXITS: u32 = 0x4fff_fffc;
/// The leaf of the cycles in all exits.
pub const TOTAL_CYCLES: u32 = 0x4fff_fffd;
/// The leaf of the exits of a reason.
pub const EXITS: u32 = 0x4fff_fffe;
/// The leaf of the cycles in exits of a reason, and the last of the block.
pub const CYCLES: u32 = 0x4fff_ffff;

/// What [`DISCOVERY`] answers: the highest leaf, and a signature in EBX, ECX,
/// EDX. Without a profiler KVM answers the guest's highest basic leaf, or zeros:
/// neither says anything.
pub const PRESENT: Registers = Registers {
    eax: CYCLES,
    ebx: u32::from_le_bytes(*b"KVME"),
    ecx: u32::from_le_bytes(*b"xitP"),
    edx: u32::from_le_bytes(*b"rof\0"),
};

/// What [`EXITS`] and [`CYCLES`] answer for a reason that is not defined, and
/// [`SNAPSHOT`] for a command that is not.
pub const UNDEFINED: Registers = Registers {
    eax: 0,
    ebx: 0,
    ecx: 0,
    edx: u32::MAX,
};

/// The version of this protocol; the next adds to it, and takes nothing away.
pub const VERSION: u16 = 2;

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

/// What a guest can do with its vCPU's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Command {
    /// Answer as things are again.
    Release = 0,
    /// Take one, in place of the one held.
    Take = 1,
    /// Only tell.
    Tell = 2,
}

impl Command {
    /// The command with that number in ECX.
    pub fn from_number(number: u32) -> Option<Command> {
        [Command::Release, Command::Take, Command::Tell]
            .iter()
            .copied()
            .find(|&command| command as u32 == number)
    }
}

/// The answer of leaf [`SNAPSHOT`], after what was asked for is done.
///
/// | register | meaning                                                          |
/// |----------|------------------------------------------------------------------|
/// | EAX      | 1 if the vCPU holds a snapshot, or 0: also if there is no memory, |
/// |          | or while the counters are set to zero                            |
/// | EBX      | how many it has taken, modulo 2^32                               |
///
/// When the counters start from zero, it is held no more. Whoever takes one and
/// finds EBX and EAX unchanged in the end has read nothing
/// but that one, whoever else runs on the vCPU.
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

/// How the profiler describes itself in leaf [`PROTOCOL`].
///
/// | register | bits  | meaning                                                |
/// |----------|-------|--------------------------------------------------------|
/// | EAX      | 15:0  | version of the protocol                                |
/// | EAX      | 23:16 | instruction set: 1 VMX, 2 SVM                          |
/// | EAX      | 31:24 | scope: 1 host, 2 the VM that asks, 3 the vCPU          |
/// | EBX      | 0     | there are snapshots: [`SNAPSHOT`] (since version 2)    |
/// | EBX      | 31:1  | features yet to come: 0                                |
/// | ECX      | 31:0  | epoch: another value when the counters start from     |
/// |          |       | zero, and 0 while they do                              |
/// | EDX      | 31:0  | frequency of the host's TSC in kHz, 0 if unknown       |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// The version of the protocol: [`VERSION`].
    pub version: u16,
    /// The number of an [`Isa`](super::reason::Isa).
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

/// A profile that a guest reads.
pub trait Responder: Profile {
    /// How it describes itself.
    fn protocol(&self) -> Protocol;

    /// Does what `command` says to the guest's snapshot.
    fn snapshot(&mut self, command: Command) -> Snapshot;
}

/// What a guest asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Of the fields.
pub enum Query {
    /// Leaf [`DISCOVERY`].
    Discovery,
    /// Leaf [`PROTOCOL`].
    Protocol,
    /// Leaf [`HIDDEN`].
    Hidden,
    /// Leaf [`SNAPSHOT`].
    Snapshot { command: u32 },
    /// Leaf [`TOTAL_EXITS`].
    TotalExits,
    /// Leaf [`TOTAL_CYCLES`].
    TotalCycles,
    /// Leaf [`EXITS`].
    Exits { reason: u32 },
    /// Leaf [`CYCLES`].
    Cycles { reason: u32 },
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
    Sample(Sample),
    /// There is no such exit reason, or command.
    Undefined,
    /// Something else.
    Other(Registers),
}

impl Query {
    /// The query for leaf `eax` with the parameter `ecx`, both any number;
    /// `None` if the leaf is not in our block.
    pub fn new(eax: u32, ecx: u32) -> Option<Query> {
        Some(match eax {
            DISCOVERY => Query::Discovery,
            PROTOCOL => Query::Protocol,
            HIDDEN => Query::Hidden,
            SNAPSHOT => Query::Snapshot { command: ecx },
            TOTAL_EXITS => Query::TotalExits,
            TOTAL_CYCLES => Query::TotalCycles,
            EXITS => Query::Exits { reason: ecx },
            CYCLES => Query::Cycles { reason: ecx },
            _ if (DISCOVERY..=CYCLES).contains(&eax) => Query::Unassigned,
            _ => return None,
        })
    }

    /// What `profile` answers.
    pub fn answer(self, profile: &mut impl Responder) -> Answer {
        match self {
            Query::Discovery => Answer::Other(PRESENT),
            Query::Protocol => Answer::Other(profile.protocol().into()),
            Query::Hidden => Answer::Sample(profile.hidden()),
            Query::Snapshot { command } => Command::from_number(command)
                .map_or(Answer::Undefined, |command| {
                    Answer::Other(profile.snapshot(command).into())
                }),
            Query::TotalExits => Answer::Exits(profile.total().exits),
            Query::TotalCycles => Answer::Cycles(profile.total().cycles),
            Query::Exits { reason } => profile
                .visible(reason)
                .map_or(Answer::Undefined, |s| Answer::Exits(s.exits)),
            Query::Cycles { reason } => profile
                .visible(reason)
                .map_or(Answer::Undefined, |s| Answer::Cycles(s.cycles)),
            Query::Unassigned => Answer::Other(Registers::default()),
        }
    }

    /// The answer that the registers hold: the inverse of `Registers::from`.
    pub fn decode(self, r: Registers) -> Answer {
        match self {
            Query::Exits { .. } | Query::Cycles { .. } | Query::Snapshot { .. }
                if r == UNDEFINED =>
            {
                Answer::Undefined
            }
            Query::TotalExits | Query::Exits { .. } => Answer::Exits(join(r.eax, r.ebx)),
            Query::TotalCycles | Query::Cycles { .. } => Answer::Cycles(join(r.ecx, r.ebx)),
            Query::Hidden => Answer::Sample(Sample {
                exits: join(r.eax, r.ebx),
                cycles: join(r.ecx, r.edx),
            }),
            Query::Discovery | Query::Protocol | Query::Snapshot { .. } | Query::Unassigned => {
                Answer::Other(r)
            }
        }
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
            Answer::Sample(Sample { exits, cycles }) => {
                let (eax, ebx) = split(exits);
                let (ecx, edx) = split(cycles);
                Registers { eax, ebx, ecx, edx }
            }
            Answer::Undefined => UNDEFINED,
            Answer::Other(registers) => registers,
        }
    }
}

/// The vCPU that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The process of its VM, as KVM's debugfs names it.
    pub pid: u32,
    /// The vCPU's number in its VM.
    pub vcpu: u32,
}

/// A query and its answer as one line of the host's log; only those for exits
/// or for cycles have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine {
    asker: Asker,
    query: Query,
    value: Option<u64>,
}

impl LogLine {
    /// The line for `query` that was answered by `answer`, if there is one.
    pub fn new(asker: Asker, query: Query, answer: Answer) -> Option<LogLine> {
        let value = match (query, answer) {
            (_, Answer::Exits(value) | Answer::Cycles(value)) => Some(value),
            (Query::Exits { .. } | Query::Cycles { .. }, Answer::Undefined) => None,
            _ => return None,
        };
        Some(LogLine {
            asker,
            query,
            value,
        })
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.query {
            Query::TotalExits => write!(f, "{TOTAL_EXITS:#x}, Total exits=")?,
            Query::TotalCycles => write!(f, "{TOTAL_CYCLES:#x}, Total cycles=")?,
            Query::Exits { reason } => write!(f, "{EXITS:#x}, Exit number {reason}. Total exits=")?,
            Query::Cycles { reason } => {
                write!(f, "{CYCLES:#x}, Exit number {reason}. Total cycles=")?
            }
            Query::Discovery
            | Query::Protocol
            | Query::Hidden
            | Query::Snapshot { .. }
            | Query::Unassigned => (),
        }
        match self.value {
            Some(value) => write!(f, "{value}")?,
            None => f.write_str("0 (undefined)")?,
        }
        let Asker { pid, vcpu } = self.asker;
        write!(f, " (pid {pid}, vCPU {vcpu})")
    }
}
