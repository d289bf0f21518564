// SPDX-License-Identifier: GPL-2.0
//! What a guest can be told to do K times: one short piece of 32-bit code per
//! operation.
//!
//! An operation may use EAX, EBX, ECX and EDX, finds the command's argument
//! at -4(%esi), and may change it there. It must not depend on where it is
//! loaded. A new one is a name and its instructions in the table below.

use crate::guest::{between, layout, port};
use core::arch::global_asm;
use kvm_exitprof::profile::reason::Isa;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident: $($line:literal),+;)+) => {
        /// An operation of the guest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Op {
            $($(#[$doc])* $name,)+
        }

        // Each operation is preceded by its length, so that the table needs
        // no symbol per operation.
        global_asm!(
            ".pushsection .rodata.e2e_ops, \"a\", @progbits",
            ".code32",
            ".globl e2e_ops_start",
            "e2e_ops_start:",
            $(".long 92f - 91f", "91:", $($line,)+ "ret", "92:",)+
            ".globl e2e_ops_end",
            "e2e_ops_end:",
            ".code64",
            ".popsection",
            data = const layout::DATA_SEL,
            sink = const port::SINK,
            window = const port::WINDOW,
            options(att_syntax),
        );
    };
}

ops! {
    /// CPUID of the leaf in the argument, subleaf 0.
    Cpuid: "mov -4(%esi), %eax", "xor %ecx, %ecx", "cpuid";
    /// CPUID through KVM's emulator.
    EmulatedCpuid: "mov -4(%esi), %eax", "xor %ecx, %ecx",
        "ud2", ".ascii \"kvm\"", "cpuid";
    Hlt: "hlt";
    /// A hypercall that KVM does not know.
    Vmcall: "mov $-1, %eax", "vmcall";
    Out: "out %al, ${sink}";
    In: "in ${sink}, %al";
    /// Five bytes by one string instruction.
    RepOutsb: "push %esi", "mov ${sink}, %edx", "mov $5, %ecx", "rep outsb",
        "pop %esi";
    /// Five bytes into the dead part of the stack.
    RepInsb: "push %edi", "lea -64(%esp), %edi", "mov ${sink}, %edx",
        "mov $5, %ecx", "rep insb", "pop %edi";
    /// The MSR in the argument.
    Rdmsr: "mov -4(%esi), %ecx", "rdmsr";
    /// Zero into the MSR in the argument.
    WrmsrZero: "mov -4(%esi), %ecx", "xor %eax, %eax", "xor %edx, %edx",
        "wrmsr";
    /// An MSR that KVM refuses: #GP.
    WrmsrRefused: "call 1f", "1: pop %ebx", "add $2f - 1b, %ebx",
        "mov -4(%esi), %ecx", "mov $-1, %eax", "mov $-1, %edx", "wrmsr",
        "2:";
    Cr0Am: "mov %cr0, %eax", "xor $1 << 18, %eax", "mov %eax, %cr0";
    Cr4Mce: "mov %cr4, %eax", "xor $1 << 6, %eax", "mov %eax, %cr4";
    Wbinvd: "wbinvd";
    Invd: "invd";
    /// KVM lets the guest have the debug registers until its next exit,
    /// which is the CPUID here.
    MovDr: "mov %dr0, %edx", "xor %eax, %eax", "xor %ecx, %ecx", "cpuid";
    /// #GP where the guest has no PMU, a number where it has.
    Rdpmc: "call 1f", "1: pop %ebx", "add $2f - 1b, %ebx",
        "xor %ecx, %ecx", "rdpmc", "2:";
    Monitor: "xor %ecx, %ecx", "xor %edx, %edx", "lea -64(%esp), %eax",
        "monitor";
    Mwait: "xor %eax, %eax", "xor %ecx, %ecx", "mwait";
    /// XCR0 = x87 only, with CR4.OSXSAVE set around it.
    Osxsave: "mov %cr4, %eax", "or $1 << 18, %eax", "mov %eax, %cr4";
    Xsetbv: "xor %ecx, %ecx", "xor %edx, %edx", "mov $1, %eax", "xsetbv";
    /// A selector that FS may have.
    MendFs: "mov ${data}, %eax", "mov %eax, %fs";
    /// Writes one page, without changing it, and goes on to the next.
    Touch: "mov -4(%esi), %eax", "lock orl $0, (%eax)",
        "addl $4096, -4(%esi)";
    /// Reads the address in the argument.
    Load: "mov -4(%esi), %eax", "mov (%eax), %eax";
    /// Opens an interrupt window that the VMM has asked for.
    IrqWindow: "cli", "out %al, ${window}", "sti", "nop";
    /// Spins for as many thousands of TSC ticks as the argument says.
    Spin: "mov -4(%esi), %ecx", "imul $1000, %ecx", "rdtsc",
        "mov %eax, %ebx", "1: pause", "rdtsc", "sub %ebx, %eax",
        "cmp %ecx, %eax", "jb 1b";
    /// A TSC deadline that has passed long ago.
    PastDeadline: "mov $0x6e0, %ecx", "mov $1, %eax", "xor %edx, %edx",
        "wrmsr";
    /// The TSC deadline as many ticks ahead as the argument says, and half
    /// as long again to let it pass, interrupts off.
    Deadline: "rdtsc", "mov %eax, %ebx", "add -4(%esi), %eax", "adc $0, %edx",
        "mov $0x6e0, %ecx", "wrmsr", "mov -4(%esi), %ecx", "shr $1, %ecx",
        "add -4(%esi), %ecx", "1: rdtsc", "sub %ebx, %eax",
        "cmp %ecx, %eax", "jb 1b";
    /// An interrupt with no descriptor table to find its handler in.
    TripleFault: "push $0", "push $0", "lidt (%esp)", "int $0x20";
}

/// Where `op` lies in guest memory.
pub fn address(op: Op) -> u32 {
    let mut rest = code();
    let mut at = layout::OPS;
    for _ in 0..op as usize {
        let (len, _) = rest.split_first_chunk().expect("a length per operation");
        let len = u32::from_le_bytes(*len) + 4;
        rest = &rest[len as usize..];
        at += len;
    }
    at + 4
}

/// The same with the instruction that `isa` has for hypercalls; KVM would put it
/// there itself, by an exit of its own.
pub fn code_for(isa: Isa) -> Vec<u8> {
    const VMCALL: [u8; 3] = [0x0f, 0x01, 0xc1];
    const VMMCALL: [u8; 3] = [0x0f, 0x01, 0xd9];
    let mut code = code().to_vec();
    if isa == Isa::Svm {
        for at in 0..code.len() - 2 {
            if code[at..at + 3] == VMCALL {
                code[at..at + 3].copy_from_slice(&VMMCALL);
            }
        }
    }
    code
}

/// The operations' machine code with their lengths.
fn code() -> &'static [u8] {
    // SAFETY: the symbols delimit read-only bytes of this program's image,
    // assembled above as one piece.
    unsafe { between(&raw const e2e_ops_start, &raw const e2e_ops_end) }
}

unsafe extern "C" {
    static e2e_ops_start: u8;
    static e2e_ops_end: u8;
}
