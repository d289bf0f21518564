// SPDX-License-Identifier: GPL-2.0
//! The bare guest: a tiny interpreter in 32-bit protected mode, paging off.
//!
//! A test describes what the guest shall do as a [`Program`], an array of
//! 16-byte commands in guest memory; the interpreter works through it and
//! leaves one 16-byte result per read beside it. Nothing but the commands
//! themselves causes exits, so a count taken between two commands is exact,
//! and a new workload needs no new guest: only an operation in
//! [`crate::vmm::ops`].

use crate::vmm::ops::{self, Op};
use core::arch::global_asm;

/// I/O ports of the protocol between guest and VMM.
pub mod port {
    /// The program has ended.
    pub const DONE: u16 = 0xe0;
    /// An exception that no operation expects; EAX tells which.
    pub const FAULT: u16 = 0xe1;
    /// Ask for KVM's interrupt window.
    pub const WINDOW: u16 = 0xe2;
    /// Answers reads with [`FILL`], forgets what is written.
    pub const SINK: u16 = 0xe3;
    /// Sends the vCPU two NMIs.
    pub const NMIS: u16 = 0xe4;
    /// What every read that nobody backs returns, as on an empty bus.
    pub const FILL: u8 = 0xff;
}

/// Guest-physical memory layout.
pub mod layout {
    /// RAM of the guest, from address 0.
    pub const RAM: usize = 16 << 20;
    /// Segment descriptors.
    pub const GDT: u32 = 0x1000;
    /// Interrupt descriptors, one page.
    pub const IDT: u32 = 0x2000;
    /// Interpreter.
    pub const CODE: u32 = 0x3000;
    /// Operations, up to [`WINDOWS`].
    pub const OPS: u32 = 0x4000;
    /// Pages up to the last of these.
    pub const SHARED_PAGES: u32 = (OPS + 0x4000) / PAGE;
    /// First of the vCPUs' own windows.
    pub const WINDOWS: u32 = 0x10_0000;
    /// Size of a window: results, then commands, then the stack.
    pub const WINDOW: u32 = 0x2_1000;
    /// Room for commands, and as much for results.
    pub const TABLE: u32 = 0x1_0000;
    /// Task state segments that operations fill.
    pub const TSS: u32 = 0x70_0000;
    /// Page tables of long mode that an operation fills, three pages.
    pub const PAGE_TABLES: u32 = 0x70_1000;
    /// What a guest hypervisor needs: see [`crate::vmm::nested`].
    pub const NESTED: u32 = 0x40_0000;
    /// Its VMCS or VMCB.
    pub const CONTROL_BLOCK: u32 = NESTED + PAGE;
    /// Pages that nobody touches before a test does.
    pub const UNTOUCHED: u32 = 0x80_0000;
    /// An address behind which there is neither memory nor a device.
    pub const UNBACKED: u32 = 0xd000_0000;
    /// Guest page size.
    pub const PAGE: u32 = 0x1000;
    /// Flat 32-bit code and data selectors.
    pub const CODE_SEL: u16 = 8;
    pub const DATA_SEL: u16 = 16;
}

/// One command of a [`Program`], as the interpreter reads it.
#[derive(Clone, Copy)]
struct Command {
    kind: u32,
    a: u32,
    b: u32,
    arg: u32,
}

const DONE: u32 = 0;
const CPUID: u32 = 1;
const EMULATED: u32 = 2;
const REPEAT: u32 = 3;
const TSC: u32 = 4;
const CALL: u32 = 5;

/// What the registers hold before a CPUID that its inputs leave free.
pub const GARBAGE: u32 = 0xdead_beef;

/// EAX, EBX, ECX, EDX as the guest stored them.
pub type Regs = [u32; 4];

/// What one run of the guest does, command by command.
#[derive(Clone, Default)]
pub struct Program {
    commands: Vec<Command>,
    reads: usize,
}

impl Program {
    pub fn new() -> Self {
        Self::default()
    }

    /// Executes CPUID once with every free register preset to garbage, and
    /// returns the index of its result.
    pub fn cpuid(&mut self, eax: u32, ecx: u32) -> usize {
        self.read(CPUID, eax, ecx)
    }

    /// The same through KVM's instruction emulator.
    pub fn emulated_cpuid(&mut self, eax: u32, ecx: u32) -> usize {
        self.read(EMULATED, eax, ecx)
    }

    /// Reads the guest's TSC into EAX (low) and EBX (high) of the result.
    pub fn tsc(&mut self) -> usize {
        self.read(TSC, 0, 0)
    }

    /// Does `op` `count` times, with `arg` where it looks for one.
    pub fn repeat(&mut self, op: Op, count: u32, arg: u32) {
        assert!(count > 0, "the interpreter counts down to zero");
        self.commands.push(Command {
            kind: REPEAT,
            a: ops::address(op),
            b: count,
            arg,
        });
    }

    /// Does `op` once with `value` in ECX, and returns the index of the result:
    /// the registers as it leaves them.
    pub fn call(&mut self, op: Op, value: u32, arg: u32) -> usize {
        self.push_read(Command {
            kind: CALL,
            a: ops::address(op),
            b: value,
            arg,
        })
    }

    /// Does what `other` does, too.
    pub fn append(&mut self, other: &Self) {
        self.commands.extend(&other.commands);
        self.reads += other.reads;
    }

    /// How many results the program leaves.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// The commands as the guest's memory holds them, with the end mark.
    pub fn bytes(&self) -> Vec<u8> {
        let end = Command {
            kind: DONE,
            a: 0,
            b: 0,
            arg: 0,
        };
        let words = |c: &Command| [c.kind, c.a, c.b, c.arg];
        let all = self.commands.iter().chain([&end]);
        all.flat_map(words).flat_map(u32::to_le_bytes).collect()
    }

    fn read(&mut self, kind: u32, a: u32, b: u32) -> usize {
        self.push_read(Command { kind, a, b, arg: 0 })
    }

    fn push_read(&mut self, command: Command) -> usize {
        self.commands.push(command);
        self.reads += 1;
        self.reads - 1
    }
}

/// The interpreter's machine code.
pub fn code() -> &'static [u8] {
    // SAFETY: the symbols delimit read-only bytes of this program's image,
    // assembled below as one piece.
    unsafe { between(&raw const e2e_guest_start, &raw const e2e_guest_end) }
}

/// The guest's entry point.
pub fn entry() -> u32 {
    layout::CODE
}

/// Handler of interrupt `vector`.
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

fn distance(from: *const u8, to: *const u8) -> u32 {
    u32::try_from(to.addr() - from.addr()).expect("both in one small blob")
}

/// The bytes from one symbol up to another.
///
/// # Safety
///
/// Both must lie in, or one past, one object that is never written.
pub unsafe fn between(start: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: by this function's contract.
    unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

unsafe extern "C" {
    static e2e_guest_start: u8;
    static e2e_guest_vectors: u8;
    static e2e_guest_ud: u8;
    static e2e_guest_gp: u8;
    static e2e_guest_irq: u8;
    static e2e_guest_end: u8;
}

// ESI walks the commands, EDI the results, EBP counts repetitions; an
// operation may use EAX to EDX and finds its argument at -4(%esi). An
// operation that expects #GP or #UD puts where to go on into EBX, which is 0
// otherwise.
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
    // CPUID: EAX and ECX as asked for, garbage in the others.
    "3: mov  %edx, %eax",
    "   mov  ${garbage}, %ebx",
    "   mov  ${garbage}, %edx",
    "   cpuid",
    "   jmp  5f",
    // The same; KVM emulates what follows this invalid instruction.
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
    // One stub per exception: the return address tells the vector.
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
    cpuid = const CPUID,
    emulated = const EMULATED,
    repeat = const REPEAT,
    tsc = const TSC,
    call = const CALL,
    garbage = const GARBAGE,
    done_port = const port::DONE,
    fault_port = const port::FAULT,
    options(att_syntax),
);
