// SPDX-License-Identifier: GPL-2.0

//! The shape that types of the model have as JSON. The model is for the kernel, too, and
//! knows nothing of schemas; tests compare these with what is printed.

use schemars::JsonSchema;

/// The instruction set that reasons belong to.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum Isa {
    /// Intel's VMX. Reasons are basic exit reasons.
    Vmx,
    /// AMD's SVM. Reasons are exit codes.
    Svm,
}

/// What the profiler costs.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct Account {
    /// The cycles by which each exit's cycles are too high, because they include a reading of
    /// the TSC.
    sample_cycles: u64,
    /// The cycles that a sample adds to an exit.
    record_cycles: u64,
    /// The bytes of memory that the counters take.
    memory_bytes: u64,
    /// The number of lines that were left out of the host's log.
    suppressed: u64,
}

/// The histogram of timed exits.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct Histogram {
    /// The lowest number of cycles of an exit.
    min: u64,
    /// The highest number of cycles of an exit.
    max: u64,
    /// The number of exits of 2^n to 2^(n+1)-1 cycles for n from 0 to 29. The first also has
    /// those of 0 cycles, and the last all longer ones.
    log2: [u64; 30],
}

/// What a detail is. The key of each is a number of 64 bits.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum Kind {
    /// An I/O port: bits 15:0; the size in bytes, 18:16; bit 19: IN, not OUT; bit 20: a string
    /// instruction; bit 21: with REP.
    Io,
    /// The index of an MSR that the guest reads.
    Rdmsr,
    /// The index of an MSR that the guest writes.
    Wrmsr,
    /// A CPUID leaf: bits 31:0; the subleaf, 63:32.
    Cpuid,
    /// A control register: bits 3:0; bits 5:4: 0 for MOV to it, 1 for MOV from it, 2 for CLTS,
    /// 3 for LMSW.
    Cr,
    /// A debug register: bits 2:0; bit 4: MOV from it, not to it.
    Dr,
    /// The vector of an exception.
    Exception,
    /// The vector of an interrupt of the host.
    Interrupt,
    /// The number of a hypercall: RAX.
    Hypercall,
    /// The page of an emulated device: its guest-physical address.
    Mmio,
    /// The page of a fault in the guest's physical memory, with the access in bits 2:0: read,
    /// write, execute.
    PageFault,
    /// A register of the APIC: its offset in bits 11:0; bits 15:12: 0 for a read, 1 for a write,
    /// others as in the SDM.
    ApicAccess,
    /// The offset of an APIC register that was written.
    ApicWrite,
    /// The low half of the APIC's ICR.
    Ipi,
    /// The vector of an EOI.
    Eoi,
}

/// How much of the guest's instruction pointer is recorded.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum Code {
    /// Nothing.
    Off,
    /// Its page.
    Page,
    /// All of it.
    Exact,
}
