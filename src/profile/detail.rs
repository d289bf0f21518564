// SPDX-License-Identifier: GPL-2.0

//! What tells VM exits of a reason apart: the port, the MSR, the address and so on.

use super::isa::Isa;
use core::fmt;

/// What a detail is. The numbers are those of `enum kvm_exit_detail` in
/// `asm/kvm_exit_profiler.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[repr(u8)]
pub enum Kind {
    /// An I/O port: bits 15:0; the size in bytes, 18:16; bit 19: IN, not OUT; bit 20: a string
    /// instruction; bit 21: with REP.
    Io = 1,
    /// The index of an MSR that the guest reads.
    Rdmsr = 2,
    /// The index of an MSR that the guest writes.
    Wrmsr = 3,
    /// A CPUID leaf: bits 31:0; the subleaf, 63:32.
    Cpuid = 4,
    /// A control register: bits 3:0; bits 5:4: 0 for MOV to it, 1 for MOV from it, 2 for CLTS,
    /// 3 for LMSW.
    Cr = 5,
    /// A debug register: bits 2:0; bit 4: MOV from it, not to it.
    Dr = 6,
    /// The vector of an exception.
    Exception = 7,
    /// The vector of an interrupt of the host.
    Interrupt = 8,
    /// The number of a hypercall: EAX.
    Hypercall = 9,
    /// The page of an emulated device: its guest-physical address, with bits 11:0 clear.
    Mmio = 10,
    /// The page of a fault in the guest's physical memory, with the access in bits 2:0: read,
    /// write, execute.
    PageFault = 11,
    /// A register of the APIC: its offset in the page in bits 11:0; bits 15:12: 0 for a read, 1
    /// for a write, others as in the SDM, "Exit Qualification for APIC-Access VM Exits".
    ApicAccess = 12,
    /// The offset of an APIC register that was written.
    ApicWrite = 13,
    /// The low half of the APIC's ICR.
    Ipi = 14,
    /// The vector of an EOI.
    Eoi = 15,
}

/// The number of kinds, and of an unused number 0.
pub const KINDS: usize = 16;

impl Kind {
    /// All kinds, by number.
    pub const ALL: [Kind; KINDS - 1] = [
        Kind::Io,
        Kind::Rdmsr,
        Kind::Wrmsr,
        Kind::Cpuid,
        Kind::Cr,
        Kind::Dr,
        Kind::Exception,
        Kind::Interrupt,
        Kind::Hypercall,
        Kind::Mmio,
        Kind::PageFault,
        Kind::ApicAccess,
        Kind::ApicWrite,
        Kind::Ipi,
        Kind::Eoi,
    ];

    /// Its name in the text of profiles.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Io => "io",
            Kind::Rdmsr => "rdmsr",
            Kind::Wrmsr => "wrmsr",
            Kind::Cpuid => "cpuid",
            Kind::Cr => "cr",
            Kind::Dr => "dr",
            Kind::Exception => "exception",
            Kind::Interrupt => "interrupt",
            Kind::Hypercall => "hypercall",
            Kind::Mmio => "mmio",
            Kind::PageFault => "page_fault",
            Kind::ApicAccess => "apic_access",
            Kind::ApicWrite => "apic_write",
            Kind::Ipi => "ipi",
            Kind::Eoi => "eoi",
        }
    }

    /// The reason whose exits have this detail; `None` if the instruction set has none.
    pub fn reason(self, isa: Isa) -> Option<u32> {
        let (vmx, svm) = match self {
            Kind::Io => (Some(30), Some(0x7b)),
            Kind::Rdmsr => (Some(31), Some(0x7c)),
            Kind::Wrmsr => (Some(32), Some(0x7c)),
            Kind::Cpuid => (Some(10), Some(0x72)),
            Kind::Cr => (Some(28), None),
            Kind::Dr => (Some(29), None),
            Kind::Exception => (Some(0), None),
            Kind::Interrupt => (Some(1), None),
            Kind::Hypercall => (Some(18), Some(0x81)),
            Kind::Mmio => (Some(49), None),
            Kind::PageFault => (Some(48), Some(0x400)),
            Kind::ApicAccess => (Some(44), Some(0x402)),
            Kind::ApicWrite => (Some(56), None),
            Kind::Ipi => (None, Some(0x401)),
            Kind::Eoi => (Some(45), None),
        };
        match isa {
            Isa::Vmx => vmx,
            Isa::Svm => svm,
        }
    }

    /// The key of what KVM passed: see `enum kvm_exit_detail`.
    pub fn key(self, isa: Isa, raw: u64) -> u64 {
        // Moves a bit.
        let bit = |from: u32, to: u32| (raw >> from & 1) << to;
        match (self, isa) {
            // SDM, "Exit Qualification for I/O Instructions".
            (Kind::Io, Isa::Vmx) => {
                let size = (raw & 7).wrapping_add(1);
                (raw >> 16 & 0xffff) | size << 16 | bit(3, 19) | bit(4, 20) | bit(5, 21)
            }
            // APM, "EXITINFO1 for IOIO Intercept".
            (Kind::Io, Isa::Svm) => {
                let size = raw >> 4 & 7;
                (raw >> 16 & 0xffff) | size << 16 | bit(0, 19) | bit(2, 20) | bit(3, 21)
            }
            // The error code of a page fault: bit 1, write; bit 4, instruction fetch.
            (Kind::PageFault, Isa::Svm) => {
                let access = match (raw >> 1 & 1, raw >> 4 & 1) {
                    (0, 0) => 1,
                    (write, fetch) => write << 1 | fetch << 2,
                };
                (raw & !0xfff) | access
            }
            // APM, "AVIC_NOACCEL": bits 11:4 are the offset.
            (Kind::ApicAccess, Isa::Svm) => (raw & 0xff0) | bit(32, 12),
            // KVM passes ECX:EAX.
            (Kind::Rdmsr | Kind::Wrmsr, _) => raw >> 32,
            _ => raw,
        }
    }
}

/// A set of kinds, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(pub u32);

/// Names for several kinds, besides their own.
const GROUPS: [(&str, &[Kind]); 3] = [
    ("msr", &[Kind::Rdmsr, Kind::Wrmsr]),
    (
        "apic",
        &[Kind::ApicAccess, Kind::ApicWrite, Kind::Ipi, Kind::Eoi],
    ),
    ("all", &Kind::ALL),
];

impl Kinds {
    /// No kind.
    pub const NONE: Kinds = Kinds(0);

    /// Whether `kind` is in the set.
    pub fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u32 & 1 == 1
    }

    /// Parses names with commas between: of kinds, `msr`, `apic`, `all` or `none`. `None` if
    /// one is unknown.
    pub fn parse(names: &str) -> Option<Kinds> {
        let mut kinds = 0;
        for name in names.trim().split(',') {
            let kind = Kind::ALL.iter().find(|kind| kind.name() == name);
            let group = GROUPS.iter().find(|(of_group, _)| *of_group == name);
            let all: &[Kind] = match (kind, group, name) {
                (Some(kind), ..) => core::slice::from_ref(kind),
                (_, Some((_, kinds)), _) => kinds,
                (.., "none" | "") => &[],
                _ => return None,
            };
            for kind in all {
                kinds |= 1 << *kind as u32;
            }
        }
        Some(Kinds(kinds))
    }
}

impl Kinds {
    /// Parses what a module wrote, perhaps a later one: names that are not known are passed
    /// over.
    pub fn known(names: &str) -> Kinds {
        let of = |name| Kinds::parse(name).unwrap_or(Kinds::NONE).0;
        Kinds(names.split(',').fold(0, |kinds, name| kinds | of(name)))
    }
}

impl fmt::Display for Kinds {
    /// Writes the names of all kinds, with commas between, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for kind in Kind::ALL.iter().filter(|kind| self.has(**kind)) {
            write!(f, "{separator}{}", kind.name())?;
            separator = ",";
        }
        match separator {
            "" => f.write_str("none"),
            _ => Ok(()),
        }
    }
}

/// How much of the guest's instruction pointer is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Code {
    /// Nothing.
    #[default]
    Off,
    /// Its page.
    Page,
    /// All of it.
    Exact,
}

impl Code {
    /// The name in the text of profiles.
    pub fn name(self) -> &'static str {
        match self {
            Code::Off => "off",
            Code::Page => "page",
            Code::Exact => "exact",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Code> {
        [Code::Off, Code::Page, Code::Exact]
            .iter()
            .copied()
            .find(|code| code.name() == name)
    }

    /// The key of an instruction pointer and the CPL: an address has copies of its highest
    /// bit in bits 62:57, of which two make room for the CPL.
    #[inline(always)]
    pub fn key(self, rip: u64, cpl: u8) -> u64 {
        let rip = match self {
            Code::Exact => rip,
            _ => rip & !0xfff,
        };
        (rip & !(3 << 61)) | u64::from(cpl & 3) << 61
    }
}

/// The instruction pointer and CPL of a key: see [`Code::key`].
pub fn code_of(key: u64) -> (u64, u8) {
    let sign = (key as i64 >> 63) as u64 & 3 << 61;
    ((key & !(3 << 61)) | sign, (key >> 61 & 3) as u8)
}

/// Adds the slot of a reason, and the level of the guest, 1 or 2, to a [key](Code::key), for a
/// table of them all: to bits 59:52 and 60, which an address of 48 bits does not need. Of a longer
/// address, these bits are lost.
#[inline(always)]
pub fn with_slot(key: u64, slot: usize, level: u8) -> u64 {
    (key & !(0x1ff << 52)) | (slot as u64 & 0xff) << 52 | u64::from(level >> 1) << 60
}

// Each slot has a number of its own.
#[allow(clippy::assertions_on_constants)]
const _: () = assert!(Isa::MAX_SLOTS <= 0x100);

/// The inverse of [`with_slot`].
pub fn without_slot(key: u64) -> (u64, usize, u8) {
    let sign = (key as i64 >> 63) as u64 & 0x1ff << 52;
    let (slot, level) = (key >> 52 & 0xff, (key >> 60 & 1).wrapping_add(1));
    ((key & !(0x1ff << 52)) | sign, slot as usize, level as u8)
}

/// How often VM exits came from a nested guest, L2, and how often KVM gave them to its
/// hypervisor, L1, which is a part of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // Exits, and cycles of the host's TSC, as in `Tally`.
pub struct Nested {
    pub l2_exits: u64,
    pub l2_cycles: u64,
    pub reflected_exits: u64,
    pub reflected_cycles: u64,
}

impl Nested {
    /// No exits.
    pub const NONE: Nested = Nested {
        l2_exits: 0,
        l2_cycles: 0,
        reflected_exits: 0,
        reflected_cycles: 0,
    };
}

impl core::ops::Add for Nested {
    type Output = Nested;

    fn add(self, other: Nested) -> Nested {
        Nested {
            l2_exits: self.l2_exits.wrapping_add(other.l2_exits),
            l2_cycles: self.l2_cycles.wrapping_add(other.l2_cycles),
            reflected_exits: self.reflected_exits.wrapping_add(other.reflected_exits),
            reflected_cycles: self.reflected_cycles.wrapping_add(other.reflected_cycles),
        }
    }
}
