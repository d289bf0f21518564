// SPDX-License-Identifier: GPL-2.0
//! The bare guest: a tiny interpreter in 32-bit protected mode, with paging off.
//!
//! It executes a [`Program`](super::Program). Only the program's commands cause
//! exits, so a count that is taken between two commands is exact. What a guest can do
//! is in [`super::ops`]: a new workload needs no new guest.

use super::blob::{between, distance};
use super::program::{GARBAGE, kind};
use super::{layout, port};
use core::arch::global_asm;

/// The interpreter's machine code.
pub fn code() -> &'static [u8] {
    // SAFETY: the symbols delimit read-only bytes of this program's image, which are
    // assembled below as one piece.
    unsafe { between(&raw const e2e_guest_start, &raw const e2e_guest_end) }
}

/// The guest's entry point.
pub fn entry() -> u32 {
    layout::CODE
}

/// The handler of interrupt `vector`.
pub fn handler(vector: u32) -> u32 {
    let start = &raw const e2e_guest_start;
    let at = |symbol: *const u8| layout::CODE + distance(start, symbol);
    match vector {
        6 => at(&raw const e2e_guest_ud),
        13 => at(&raw const e2e_guest_gp),
        2 => at(&raw const e2e_guest_irq),
        0..32 => at(&raw const e2e_guest_vectors) + vector * 8,
        _ => at(&raw const e2e_guest_irq),
    }
}

/// The vector whose stub reported `address` on the fault port.
pub fn vector_of(address: u32) -> u32 {
    let stubs = distance(&raw const e2e_guest_start, &raw const e2e_guest_vectors);
    address.wrapping_sub(layout::CODE + stubs) / 8
}

unsafe extern "C" {
    static e2e_guest_start: u8;
    static e2e_guest_vectors: u8;
    static e2e_guest_ud: u8;
    static e2e_guest_gp: u8;
    static e2e_guest_irq: u8;
    static e2e_guest_end: u8;
}

// ESI walks the commands, EDI the results, and EBP counts repetitions. An operation
// may use EAX to EDX, and finds its argument at -4(%esi). One that expects #GP or #UD
// sets EBX to the address where the handler returns to. Otherwise EBX is 0.
global_asm!(
    ".pushsection .rodata.e2e_guest, \"a\", @progbits",
    ".code32",
    ".globl e2e_guest_start",
    "e2e_guest_start:",
    "   push %edi",
    "   push %esi",
    "2: add  $16, %esi",
    "   mov  -16(%esi), %eax",
    "   mov  -12(%esi), %edx",
    "   mov  -8(%esi), %ecx",
    "   cmp  ${cpuid}, %eax",
    "   je   3f",
    "   cmp  ${emulated}, %eax",
    "   je   4f",
    "   cmp  ${repeat}, %eax",
    "   je   6f",
    "   cmp  ${tsc}, %eax",
    "   je   8f",
    "   cmp  ${call}, %eax",
    "   je   1f",
    "   out  %al, ${done_port}",
    "   pop  %esi",
    "   pop  %edi",
    "   jmp  e2e_guest_start",
    // CPUID: EAX and ECX of the query, garbage in the others.
    "3: mov  %edx, %eax",
    "   mov  ${garbage}, %ebx",
    "   mov  ${garbage}, %edx",
    "   cpuid",
    "   jmp  5f",
    // The same. KVM emulates what follows this invalid instruction.
    "4: mov  %edx, %eax",
    "   mov  ${garbage}, %ebx",
    "   mov  ${garbage}, %edx",
    "   ud2",
    "   .ascii \"kvm\"",
    "   cpuid",
    "5: stosl",
    "   mov  %ebx, %eax",
    "   stosl",
    "   mov  %ecx, %eax",
    "   stosl",
    "   mov  %edx, %eax",
    "   stosl",
    "   jmp  2b",
    "6: mov  %ecx, %ebp",
    "7: xor  %ebx, %ebx",
    "   call *-12(%esi)",
    "   dec  %ebp",
    "   jnz  7b",
    "   jmp  2b",
    "8: rdtsc",
    "   mov  %edx, %ebx",
    "   xor  %ecx, %ecx",
    "   xor  %edx, %edx",
    "   jmp  5b",
    "1: xor  %ebx, %ebx",
    "   call *-12(%esi)",
    "   jmp  5b",
    // One stub for each exception: the return address tells the vector.
    "   .balign 8",
    ".globl e2e_guest_vectors",
    "e2e_guest_vectors:",
    "   .rept 32",
    "   call 9f",
    "   .balign 8",
    "   .endr",
    "9: pop  %eax",
    "   sub  $5, %eax",
    "   out  %eax, ${fault_port}",
    "   hlt",
    "   jmp  9b",
    ".globl e2e_guest_ud",
    "e2e_guest_ud:",
    "   test %ebx, %ebx",
    "   jz   e2e_guest_vectors + 6 * 8",
    "   mov  %ebx, (%esp)",
    "   iret",
    ".globl e2e_guest_gp",
    "e2e_guest_gp:",
    "   test %ebx, %ebx",
    "   jz   e2e_guest_vectors + 13 * 8",
    "   mov  %ebx, 4(%esp)",
    "   add  $4, %esp",
    ".globl e2e_guest_irq",
    "e2e_guest_irq:",
    "   iret",
    ".globl e2e_guest_end",
    "e2e_guest_end:",
    ".code64",
    ".popsection",
    cpuid = const kind::CPUID,
    emulated = const kind::EMULATED,
    repeat = const kind::REPEAT,
    tsc = const kind::TSC,
    call = const kind::CALL,
    garbage = const GARBAGE,
    done_port = const port::DONE,
    fault_port = const port::FAULT,
    options(att_syntax),
);
