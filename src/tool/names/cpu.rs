// SPDX-License-Identifier: GPL-2.0

//! What CPUs define: CPUID leaves, vectors, and registers of the APIC.

/// Exceptions, by vector.
pub(super) const EXCEPTIONS: &[(u32, &str)] = &[
    (0, "#DE divide error"),
    (1, "#DB debug"),
    (2, "NMI"),
    (3, "#BP breakpoint"),
    (4, "#OF overflow"),
    (5, "#BR bound range"),
    (6, "#UD invalid opcode"),
    (7, "#NM device not available"),
    (8, "#DF double fault"),
    (10, "#TS invalid TSS"),
    (11, "#NP segment not present"),
    (12, "#SS stack fault"),
    (13, "#GP general protection"),
    (14, "#PF page fault"),
    (16, "#MF x87 error"),
    (17, "#AC alignment check"),
    (18, "#MC machine check"),
    (19, "#XM SIMD error"),
    (20, "#VE virtualization"),
    (21, "#CP control protection"),
    (28, "#HV hypervisor injection"),
    (29, "#VC VMM communication"),
    (30, "#SX security"),
];

/// Vectors of interrupts that Linux has for itself, as in `irq_vectors.h`.
pub(super) const INTERRUPTS: &[(u32, &str)] = &[
    (0xec, "local timer"),
    (0xed, "Hyper-V timer"),
    (0xf0, "posted interrupt, nested"),
    (0xf1, "posted interrupt, wakeup"),
    (0xf2, "posted interrupt"),
    (0xf3, "hypervisor callback"),
    (0xf6, "IRQ work"),
    (0xf8, "reboot"),
    (0xf9, "machine check threshold"),
    (0xfa, "thermal"),
    (0xfb, "function call, single"),
    (0xfc, "function call"),
    (0xfd, "reschedule"),
    (0xfe, "APIC error"),
    (0xff, "spurious"),
];

/// CPUID leaves.
pub(super) const LEAVES: &[(u32, &str)] = &[
    (0, "vendor"),
    (1, "features"),
    (2, "cache descriptors"),
    (4, "caches"),
    (5, "MWAIT"),
    (6, "power"),
    (7, "features"),
    (0xa, "PMU"),
    (0xb, "topology"),
    (0xd, "XSAVE"),
    (0xf, "RDT monitoring"),
    (0x10, "RDT allocation"),
    (0x12, "SGX"),
    (0x14, "processor trace"),
    (0x15, "TSC frequency"),
    (0x16, "frequencies"),
    (0x18, "TLBs"),
    (0x19, "key locker"),
    (0x1a, "hybrid"),
    (0x1c, "last branches"),
    (0x1d, "AMX tiles"),
    (0x1e, "AMX"),
    (0x1f, "topology"),
    (0x23, "PMU"),
    (0x24, "AVX10"),
    (0x8000_0000, "highest leaf"),
    (0x8000_0001, "features"),
    (0x8000_0002, "brand"),
    (0x8000_0003, "brand"),
    (0x8000_0004, "brand"),
    (0x8000_0005, "caches"),
    (0x8000_0006, "caches"),
    (0x8000_0007, "power"),
    (0x8000_0008, "address sizes"),
    (0x8000_000a, "SVM"),
    (0x8000_001d, "caches"),
    (0x8000_001e, "topology"),
    (0x8000_001f, "memory encryption"),
    (0x8000_0020, "quality of service"),
    (0x8000_0021, "features"),
    (0x8000_0022, "PMU"),
    (0x8000_0026, "topology"),
];

/// The CPUID leaves with subleaves. The others ignore ECX.
const WITH_SUBLEAVES: [u32; 21] = [
    4,
    7,
    0xb,
    0xd,
    0xf,
    0x10,
    0x12,
    0x14,
    0x17,
    0x18,
    0x1b,
    0x1d,
    0x1e,
    0x1f,
    0x20,
    0x23,
    0x24,
    0x8000_001d,
    0x8000_0020,
    0x8000_0026,
    0x8000_0025,
];

/// The name of a number in a table.
pub(super) fn find<'a>(table: &[(u32, &'a str)], number: u32) -> Option<&'a str> {
    let found = table.iter().find(|(other, _)| *other == number);
    found.map(|(_, name)| *name)
}

/// Whether the answer of a CPUID leaf depends on ECX. This project's leaves take a reason there.
pub(super) fn has_subleaves(leaf: u32) -> bool {
    WITH_SUBLEAVES.contains(&leaf) || leaf >> 8 == 0x4f_ffff
}

/// Registers of the APIC, by offset.
pub(super) const APIC: &[(u32, &str)] = &[
    (0x020, "ID"),
    (0x030, "version"),
    (0x080, "TPR"),
    (0x090, "APR"),
    (0x0a0, "PPR"),
    (0x0b0, "EOI"),
    (0x0c0, "RRD"),
    (0x0d0, "LDR"),
    (0x0e0, "DFR"),
    (0x0f0, "SVR"),
    (0x280, "ESR"),
    (0x2f0, "LVT CMCI"),
    (0x300, "ICR"),
    (0x310, "ICR2"),
    (0x320, "LVT timer"),
    (0x330, "LVT thermal"),
    (0x340, "LVT PMC"),
    (0x350, "LVT LINT0"),
    (0x360, "LVT LINT1"),
    (0x370, "LVT error"),
    (0x380, "timer initial count"),
    (0x390, "timer current count"),
    (0x3e0, "timer divide"),
    (0x3f0, "self IPI"),
    (0x400, "extended features"),
    (0x410, "extended control"),
    (0x420, "specific EOI"),
];

/// The name of the APIC's register at an offset.
pub(super) fn apic_register(offset: u32) -> Option<String> {
    let of_many = |first: u32, name: &str| {
        (first..first + 0x80)
            .contains(&offset)
            .then(|| format!("{name} {}", (offset - first) / 0x10))
    };
    let known = find(APIC, offset).map(String::from);
    known
        .or_else(|| of_many(0x100, "ISR"))
        .or_else(|| of_many(0x180, "TMR"))
        .or_else(|| of_many(0x200, "IRR"))
}

/// What the low half of the APIC's ICR says: what is sent, and to whom, if a shorthand says so.
pub(super) fn ipi(icr: u32) -> String {
    let vector = icr & 0xff;
    let sent = match icr >> 8 & 7 {
        0 => format!("fixed, vector {vector:#x}"),
        1 => format!("lowest priority, vector {vector:#x}"),
        2 => "SMI".into(),
        4 => "NMI".into(),
        5 => "INIT".into(),
        6 => format!("SIPI, page {vector:#x}"),
        other => format!("delivery mode {other}"),
    };
    let whom = match icr >> 18 & 3 {
        0 => "",
        1 => ", to itself",
        2 => ", to all",
        _ => ", to all others",
    };
    sent + whom
}

/// MSRs that come in great numbers: of banks, ranges, and the x2APIC.
pub(super) fn msr(number: u32) -> Option<String> {
    const OF_BANK: [&str; 4] = ["CTL", "STATUS", "ADDR", "MISC"];
    Some(match number {
        0x200..=0x213 => {
            let half = ["BASE", "MASK"][number as usize & 1];
            format!("MTRR_PHYS{half}{}", (number - 0x200) / 2)
        }
        0x280..=0x29f => format!("IA32_MC{}_CTL2", number - 0x280),
        0x400..=0x47f => {
            let bank = number - 0x400;
            format!("IA32_MC{}_{}", bank / 4, OF_BANK[bank as usize & 3])
        }
        0x800..=0x8ff => format!("x2APIC {}", apic_register((number - 0x800) << 4)?),
        _ => return None,
    })
}
