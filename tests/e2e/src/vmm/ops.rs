// SPDX-License-Identifier: GPL-2.0
//! What a guest can do: one short piece of 32-bit code for each operation.
//!
//! An operation may use EAX, EBX, ECX and EDX, finds the command's argument
//! at -4(%esi), and may change it there. Its code must be independent of its
//! position. A new operation is a name and its instructions in the table below.

use super::blob::between;
use super::{layout, port};
use core::arch::global_asm;
use profile::isa::Isa;

macro_rules! ops {
    ($($(#[$doc:meta])* $name:ident: $($line:literal),+;)+) => {
        /// An operation of the guest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Op {
            $($(#[$doc])* $name,)+
        }

        // The length of each operation precedes it, so that none needs a symbol.
        global_asm!(
            ".pushsection .rodata.e2e_ops, \"a\", @progbits",
            ".code32",
            ".macro expect_fault",
            "call 1f",
            "1: pop %ebx",
            "add $2f - 1b, %ebx",
            ".endm",
            ".macro set_gdt_limit limit",
            "sub $8, %esp",
            "movw $\\limit, (%esp)",
            "movl ${gdt}, 2(%esp)",
            "lgdt (%esp)",
            "add $8, %esp",
            ".endm",
            ".macro enter_64_bit",
            "call 1f",
            "1: pop %edx",
            "push ${code}",
            "lea 3f - 1b(%edx), %ecx",
            "push %ecx",
            "push $24",
            "lea 2f - 1b(%edx), %ecx",
            "push %ecx",
            "lret",
            ".code64",
            "2:",
            ".endm",
            ".macro leave_64_bit",
            "lretl",
            ".code32",
            "3:",
            ".endm",
            ".globl e2e_ops_start",
            "e2e_ops_start:",
            $(".long 92f - 91f", "91:", $($line,)+ "ret", "92:",)+
            ".globl e2e_ops_end",
            "e2e_ops_end:",
            ".purgem expect_fault",
            ".purgem set_gdt_limit",
            ".purgem enter_64_bit",
            ".purgem leave_64_bit",
            ".code64",
            ".popsection",
            code = const layout::CODE_SEL,
            data = const layout::DATA_SEL,
            gdt = const layout::GDT,
            nmis = const port::NMIS,
            sink = const port::SINK,
            tables = const layout::PAGE_TABLES,
            tss = const layout::TSS,
            tss_low = const (layout::TSS & 0xffff) << 16 | 0x67,
            tss_high = const layout::TSS >> 16 | 0x8900,
            window = const port::WINDOW,
            frame = const layout::NESTED,
            block = const layout::CONTROL_BLOCK,
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
    /// Halts when an interrupt waits, which comes right after. Needs the x2APIC.
    HltPending: "mov $0x83f, %ecx", "mov $0x41, %eax", "xor %edx, %edx", "wrmsr",
        "sti", "hlt", "cli", "mov $0x80b, %ecx", "xor %eax, %eax", "wrmsr";
    /// A hypercall with an unknown number.
    Vmcall: "mov $-1, %eax", "vmcall";
    Ud2: "expect_fault", "ud2", "2:";

    Out: "out %al, ${sink}";
    Outl: "out %eax, ${sink}";
    /// Masks all interrupts of KVM's own interrupt controller.
    OutPic: "mov $-1, %eax", "out %al, $0x21";
    In: "in ${sink}, %al";
    Inl: "in ${sink}, %eax";
    Outsw: "push %esi", "mov ${sink}, %edx", "outsw", "pop %esi";
    /// Into the unused part of the stack.
    Insl: "push %edi", "lea -64(%esp), %edi", "mov ${sink}, %edx", "insl",
        "pop %edi";
    /// Writes the argument's third byte to the port in its low half.
    OutTo: "mov -4(%esi), %edx", "mov %edx, %eax", "shr $16, %eax",
        "out %al, %dx";
    /// Five bytes with one string instruction.
    RepOutsb: "push %esi", "mov ${sink}, %edx", "mov $5, %ecx", "rep outsb",
        "pop %esi";
    RepOutsl: "push %esi", "mov ${sink}, %edx", "mov $5, %ecx", "rep outsl",
        "pop %esi";
    RepInsb: "push %edi", "lea -64(%esp), %edi", "mov ${sink}, %edx",
        "mov $5, %ecx", "rep insb", "pop %edi";
    RepInsw: "push %edi", "lea -64(%esp), %edi", "mov ${sink}, %edx",
        "mov $5, %ecx", "rep insw", "pop %edi";

    /// Reads the MSR in the argument.
    Rdmsr: "mov -4(%esi), %ecx", "rdmsr";
    /// Writes zero to the MSR in the argument.
    WrmsrZero: "mov -4(%esi), %ecx", "xor %eax, %eax", "xor %edx, %edx",
        "wrmsr";
    /// Writes to an MSR what KVM refuses: #GP.
    WrmsrRefused: "expect_fault", "mov -4(%esi), %ecx", "mov $-1, %eax",
        "mov $-1, %edx", "wrmsr", "2:";
    EnableX2apic: "mov $0x1b, %ecx", "rdmsr", "or $0xc00, %eax", "wrmsr";
    /// Sends an IPI to a CPU that does not exist.
    X2apicIcr: "mov $0x830, %ecx", "mov $0x4040, %eax", "mov $0x55, %edx",
        "wrmsr";

    Cr0Am: "mov %cr0, %eax", "xor $1 << 18, %eax", "mov %eax, %cr0";
    /// Flips CR0.MP with the 80286's instruction.
    Lmsw: "smsw %ax", "xor $2, %ax", "lmsw %ax";
    Cr3Read: "mov %cr3, %eax";
    Cr3Write: "xor %eax, %eax", "mov %eax, %cr3";
    Cr4Mce: "mov %cr4, %eax", "xor $1 << 6, %eax", "mov %eax, %cr4";
    /// Switches to compatibility mode: as before, but with paging.
    EnterLongMode: "mov ${tables}, %eax",
        "movl ${tables} + 0x1007, (%eax)",
        "movl ${tables} + 0x2007, 0x1000(%eax)",
        "mov $0x87, %ecx", "xor %edx, %edx",
        "1: mov %ecx, 0x2000(%eax, %edx, 8)", "add $0x200000, %ecx",
        "inc %edx", "cmp $8, %edx", "jb 1b",
        "mov %eax, %cr3",
        "movl $0xffff, {gdt} + 24", "movl $0x00af9b00, {gdt} + 28",
        "set_gdt_limit 31",
        "mov %cr4, %eax", "or $1 << 5, %eax", "mov %eax, %cr4",
        "mov $0xc0000080, %ecx", "rdmsr", "or $1 << 8, %eax", "wrmsr",
        "mov %cr0, %eax", "or $1 << 31, %eax", "mov %eax, %cr0";
    /// Needs long mode: only 64-bit code has CR8.
    Cr8Read: "enter_64_bit", "mov %cr8, %rax", "leave_64_bit";
    Cr8Write: "enter_64_bit", "mov $5, %eax", "mov %rax, %cr8", "leave_64_bit";
    /// Lowers the TPR below the priority of a waiting interrupt.
    Cr8Lower: "mov $0x1b, %ecx", "rdmsr", "or $0xc00, %eax", "wrmsr",
        "enter_64_bit", "mov $15, %eax", "mov %rax, %cr8",
        "mov $0x83f, %ecx", "mov $0x41, %eax", "xor %edx, %edx", "wrmsr",
        "xor %eax, %eax", "mov %rax, %cr8", "leave_64_bit";
    /// KVM leaves the debug registers to the guest until its next exit, which is
    /// the CPUID.
    MovFromDr: "mov %dr0, %edx", "xor %eax, %eax", "xor %ecx, %ecx", "cpuid";
    MovToDr: "xor %eax, %eax", "mov %eax, %dr0", "xor %ecx, %ecx", "cpuid";

    Wbinvd: "wbinvd";
    Invd: "invd";
    Invlpg: "invlpg (%esp)";
    /// Invalidates all cached translations.
    Invpcid: "push $0", "push $0", "push $0", "push $0", "mov $2, %eax",
        "invpcid (%esp), %eax", "add $16, %esp";
    /// #GP in a guest without a PMU.
    Rdpmc: "expect_fault", "xor %ecx, %ecx", "rdpmc", "2:";
    Rdrand: "expect_fault", "rdrand %eax", "2:";
    Monitor: "xor %ecx, %ecx", "xor %edx, %edx", "lea -64(%esp), %eax",
        "monitor";
    Mwait: "xor %eax, %eax", "xor %ecx, %ecx", "mwait";
    /// Sets CR4.OSXSAVE.
    Osxsave: "mov %cr4, %eax", "or $1 << 18, %eax", "mov %eax, %cr4";
    /// Sets XCR0 to x87 only.
    Xsetbv: "xor %ecx, %ecx", "xor %edx, %edx", "mov $1, %eax", "xsetbv";
    /// Makes the next two operations exit.
    Cr4Umip: "mov %cr4, %eax", "or $1 << 11, %eax", "mov %eax, %cr4";
    GdtrIdtr: "sub $8, %esp", "sgdt (%esp)", "lgdt (%esp)", "sidt (%esp)",
        "lidt (%esp)", "add $8, %esp";
    LdtrTr: "sldt %eax", "lldt %ax", "str %eax";

    /// Loads a valid selector into FS.
    MendFs: "mov ${data}, %eax", "mov %eax, %fs";
    /// Jumps from one TSS to another.
    TaskSwitch: "movl ${tss_low}, {gdt} + 32", "movl ${tss_high}, {gdt} + 36",
        "movl ${tss_low} + (0x100 << 16), {gdt} + 40",
        "movl ${tss_high}, {gdt} + 44",
        "set_gdt_limit 47", "mov $32, %eax", "ltr %ax",
        "mov ${tss} + 0x100, %eax",
        "call 1f", "1: pop %edx", "add $2f - 1b, %edx",
        "mov %edx, 0x20(%eax)", "pushf", "pop 0x24(%eax)",
        "mov %esp, 0x38(%eax)", "mov %ebp, 0x3c(%eax)",
        "mov %esi, 0x40(%eax)", "mov %edi, 0x44(%eax)",
        "mov ${data}, %edx", "mov %edx, 0x48(%eax)",
        "movl ${code}, 0x4c(%eax)", "mov %edx, 0x50(%eax)",
        "mov %edx, 0x54(%eax)", "mov %edx, 0x58(%eax)",
        "mov %edx, 0x5c(%eax)", "ljmp $40, $0", "2:";
    /// Writes to a page without changing it. The next time it is the next page.
    Touch: "mov -4(%esi), %eax", "lock orl $0, (%eax)",
        "addl $4096, -4(%esi)";
    /// Reads the address in the argument.
    Load: "mov -4(%esi), %eax", "mov (%eax), %eax";

    /// Has the VMM ask for an interrupt window, and opens it.
    IrqWindow: "cli", "out %al, ${window}", "sti", "nop";
    /// Gets two NMIs. The second waits until the first one's handler returns.
    Nmis: "out %al, ${nmis}";
    /// Spins for that many thousands of TSC ticks.
    Spin: "mov -4(%esi), %ecx", "imul $1000, %ecx", "rdtsc",
        "mov %eax, %ebx", "1: pause", "rdtsc", "sub %ebx, %eax",
        "cmp %ecx, %eax", "jb 1b";
    /// Sets a TSC deadline in the past.
    PastDeadline: "mov $0x6e0, %ecx", "mov $1, %eax", "xor %edx, %edx",
        "wrmsr";
    /// Sets a TSC deadline that many ticks ahead, and spins half as long again, with
    /// interrupts off.
    Deadline: "rdtsc", "mov %eax, %ebx", "add -4(%esi), %eax", "adc $0, %edx",
        "mov $0x6e0, %ecx", "wrmsr", "mov -4(%esi), %ecx", "shr $1, %ecx",
        "add -4(%esi), %ecx", "1: rdtsc", "sub %ebx, %eax",
        "cmp %ecx, %eax", "jb 1b";
    /// Raises an interrupt without a descriptor table.
    TripleFault: "push $0", "push $0", "lidt (%esp)", "int $0x20";
    Rdtsc: "rdtsc";
    Rdtscp: "rdtscp";
    /// Writes ECX to the address in the argument.
    Store: "mov -4(%esi), %eax", "mov %ecx, (%eax)";
    /// Writes ECX, zero-extended, to the MSR in the argument.
    Wrmsr: "mov %ecx, %eax", "mov -4(%esi), %ecx", "xor %edx, %edx", "wrmsr";
    /// Switches paging on with the directory in the argument, and CR4 from ECX.
    Paging: "mov -4(%esi), %eax", "mov %eax, %cr3", "mov %ecx, %cr4",
        "mov %cr0, %eax", "or $0x80000000, %eax", "mov %eax, %cr0";

    // A hypervisor's instructions: #UD in any other guest.
    /// The region in the argument.
    Vmxon: "expect_fault", "push $0", "push -4(%esi)", "vmxon (%esp)",
        "2: add $8, %esp";
    Vmxoff: "expect_fault", "vmxoff", "2:";
    /// The VMCS in the argument.
    Vmclear: "expect_fault", "push $0", "push -4(%esi)", "vmclear (%esp)",
        "2: add $8, %esp";
    /// The VMCS in the argument.
    Vmptrld: "expect_fault", "push $0", "push -4(%esi)", "vmptrld (%esp)",
        "2: add $8, %esp";
    Vmptrst: "expect_fault", "sub $8, %esp", "vmptrst (%esp)",
        "2: add $8, %esp";
    /// Reads the field in the argument into EAX.
    Vmread: "expect_fault", "mov -4(%esi), %edx", "vmread %edx, %eax", "2:";
    /// Writes ECX to the field in the argument.
    Vmwrite: "expect_fault", "mov -4(%esi), %edx", "vmwrite %ecx, %edx", "2:";
    /// All mappings of all contexts.
    Invept: "expect_fault", "push $0", "push $0", "push $0", "push $0",
        "mov $2, %eax", "invept (%esp), %eax", "2: add $16, %esp";
    Invvpid: "expect_fault", "push $0", "push $0", "push $0", "push $0",
        "mov $2, %eax", "invvpid (%esp), %eax", "2: add $16, %esp";
    Vmlaunch: "expect_fault", "vmlaunch", "2:";
    Vmresume: "expect_fault", "vmresume", "2:";
    Vmfunc: "expect_fault", "xor %eax, %eax", "vmfunc", "2:";
    Vmrun: "expect_fault", "xor %eax, %eax", "vmrun %eax", "2:";
    Stgi: "expect_fault", "stgi", "2:";
    Clgi: "expect_fault", "clgi", "2:";
    /// The VMCB in the argument.
    Vmload: "expect_fault", "mov -4(%esi), %eax", "vmload %eax", "2:";
    /// The VMCB in the argument.
    Vmsave: "expect_fault", "mov -4(%esi), %eax", "vmsave %eax", "2:";
    Invlpga: "expect_fault", "mov -4(%esi), %eax", "xor %ecx, %ecx",
        "invlpga %eax, %ecx", "2:";
    Skinit: "expect_fault", "skinit %eax", "2:";
    Rsm: "expect_fault", "rsm", "2:";

    // What a hypervisor does with a guest of its own: see super::nested.
    /// Enters the guest's guest, with its registers, by VMLAUNCH. EAX is 1 if that
    /// fails, and 0 after an exit, which goes to [`Op::GuestExits`].
    LaunchGuest: "pusha", "mov %esp, {frame} + 32", "mov ${frame}, %esp",
        "popa", "vmlaunch", "mov {frame} + 32, %esp", "popa", "mov $1, %eax";
    /// Does so by VMRESUME.
    ResumeGuest: "pusha", "mov %esp, {frame} + 32", "mov ${frame}, %esp",
        "popa", "vmresume", "mov {frame} + 32, %esp", "popa", "mov $1, %eax";
    /// Where the CPU goes on after an exit, with ESP at the end of the saved
    /// registers.
    GuestExits: "pusha", "mov 32(%esp), %esp", "popa", "sti",
        "xor %eax, %eax";
    /// Enters the guest's guest by VMRUN, after which the CPU goes on.
    RunGuest: "pusha", "mov %esp, {frame} + 32", "mov ${frame}, %esp",
        "popa", "mov ${block}, %eax", "vmrun %eax", "pusha",
        "mov 32(%esp), %esp", "popa", "xor %eax, %eax";
    /// Skips ECX bytes of the guest's guest, by a VMREAD and a VMWRITE.
    VmxSkip: "mov $0x681e, %edx", "vmread %edx, %eax", "add %ecx, %eax",
        "vmwrite %eax, %edx";
    /// Does so in the VMCB.
    SvmSkip: "add %ecx, {block} + 0x578";
}

/// The address of `op` in guest memory.
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

/// The operations' machine code with their lengths, and with the hypercall
/// instruction of `isa`. KVM would patch that itself, at the cost of an exit.
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
    // SAFETY: the symbols delimit read-only bytes of this program's image, which are
    // assembled above as one piece.
    unsafe { between(&raw const e2e_ops_start, &raw const e2e_ops_end) }
}

unsafe extern "C" {
    static e2e_ops_start: u8;
    static e2e_ops_end: u8;
}
