// SPDX-License-Identifier: GPL-2.0

//! The CPUID leaves by which a guest reads the profile: their numbers, and what their
//! registers hold.
//!
//! README.md in this folder has the table of all leaves.

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
/// [`Profile::hidden`](super::counts::Profile::hidden).
pub const HIDDEN: u32 = 0x4fff_ff02;
/// The leaf of [`Identity`].
pub const IDENTITY: u32 = 0x4fff_ff04;
/// The leaf of the untimed exits of a reason.
pub const UNTIMED: u32 = 0x4fff_ff05;
/// The leaf of the cycles in a phase, or in the guest: see
/// [`Totals::cycles`](super::phases::Totals::cycles).
pub const PHASE: u32 = 0x4fff_ff06;
/// The leaf of the vCPU's [`SnapshotState`], and the first leaf that answers from it.
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
/// EDX. Without a profiler, KVM answers the contents of the guest's highest basic
/// leaf, or zeros.
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
pub const FEATURE_SNAPSHOT: u8 = 1;
/// The feature bit of [`Protocol`] that says that phases are recorded.
pub const FEATURE_PHASES: u8 = 2;

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
pub struct SnapshotState {
    /// Whether the vCPU holds a snapshot.
    pub held: bool,
    /// The number of snapshots that it has taken, modulo 2^32.
    pub taken: u32,
}

impl From<SnapshotState> for Registers {
    fn from(snapshot: SnapshotState) -> Registers {
        Registers {
            eax: snapshot.held.into(),
            ebx: snapshot.taken,
            ..Registers::default()
        }
    }
}

impl From<Registers> for SnapshotState {
    fn from(r: Registers) -> SnapshotState {
        SnapshotState {
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
/// | EBX      | 1     | phases are recorded: [`PHASE`]                         |
/// | EBX      | 7:2   | reserved for features: 0                               |
/// | EBX      | 15:8  | kernel that decides which reasons are handled:         |
/// |          |       | 0 Linux 6.1 to 6.12, 1 Linux 7.3                       |
/// | EBX      | 31:16 | reserved: 0                                            |
/// | ECX      | 31:0  | epoch: as in [`Identity`]                              |
/// | EDX      | 31:0  | frequency of the host's TSC in kHz, 0 if unknown       |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// The version of the protocol: [`VERSION`].
    pub version: u16,
    /// The number of an [`Isa`](super::isa::Isa).
    pub isa: u8,
    /// The number of a [`Scope`].
    pub scope: u8,
    /// The feature bits.
    pub features: u8,
    /// The number of a [`Kernel`](super::reason::Kernel).
    pub kernel: u8,
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
            ebx: u32::from(p.features) | u32::from(p.kernel) << 8,
            ecx: p.epoch,
            edx: p.tsc_khz,
        }
    }
}

impl From<Registers> for Protocol {
    fn from(r: Registers) -> Protocol {
        let [v0, v1, isa, scope] = r.eax.to_le_bytes();
        let [features, kernel, ..] = r.ebx.to_le_bytes();
        Protocol {
            version: u16::from_le_bytes([v0, v1]),
            isa,
            scope,
            features,
            kernel,
            epoch: r.ecx,
            tsc_khz: r.edx,
        }
    }
}
