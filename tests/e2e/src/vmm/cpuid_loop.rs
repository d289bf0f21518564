// SPDX-License-Identifier: GPL-2.0
//! A guest that does nothing but CPUID, at full speed, in any mode of the CPU.
//!
//! The VMM fills a table in guest memory with all 64 bits of the registers before each
//! CPUID. The guest replaces them by those after it. Its only code is that loop, for
//! 16, 32 and 64 bits.

use super::blob::between;
use super::vcpu::{End, Vcpu};
use super::{cpu, layout, port};
use anyhow::{Result, ensure};
use core::arch::global_asm;
use kvm_bindings::{Msrs, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};

/// RAX, RBX, RCX, RDX.
pub type Quad = [u64; 4];

/// The largest number of CPUIDs in one run.
pub const BATCH: usize = 1024;

const CODE: u32 = layout::CPUID_LOOP;
const PML4: u32 = CODE + 0x1000;
const PDPT: u32 = CODE + 0x2000;
const PD: u32 = CODE + 0x3000;
const TSS: u32 = CODE + 0x4000;
const GDT: u32 = CODE + 0x5000;
const STACK: u32 = CODE + 0x6000;
const STACK_END: u32 = STACK + layout::PAGE;
/// A table for each vCPU, where a 16-bit segment can begin.
const TABLES: u32 = CODE + 0x1_0000;
const TABLE: u32 = 0x1_0000;

/// MSR_MISC_FEATURES_ENABLES, whose bit 0 is CPUID faulting.
const MISC_FEATURES: u32 = 0x140;

/// The CPU's mode while it runs the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Real,
    Virtual8086,
    Protected { ring: u8 },
    Long { ring: u8 },
}

impl Mode {
    pub const ALL: [Self; 6] = [
        Self::Real,
        Self::Virtual8086,
        Self::Protected { ring: 0 },
        Self::Protected { ring: 3 },
        Self::Long { ring: 0 },
        Self::Long { ring: 3 },
    ];

    /// Whether the guest sees all 64 bits of the registers.
    pub fn is_long(self) -> bool {
        matches!(self, Self::Long { .. })
    }

    /// The index of the loop with the right size of code.
    fn size(self) -> usize {
        match self {
            Self::Real | Self::Virtual8086 => 0,
            Self::Protected { .. } => 1,
            Self::Long { .. } => 2,
        }
    }

    fn ring(self) -> u8 {
        match self {
            Self::Real => 0,
            Self::Virtual8086 => 3,
            Self::Protected { ring } | Self::Long { ring } => ring,
        }
    }

    /// The code or data segment of entry `index` in the [`GDT`], or at `base` in the
    /// modes with 16 bits.
    fn segment(self, index: u16, base: u32, type_: u8) -> kvm_segment {
        let segment = kvm_segment {
            type_,
            present: 1,
            s: 1,
            dpl: self.ring(),
            ..Default::default()
        };
        match self {
            Self::Real | Self::Virtual8086 => kvm_segment {
                base: u64::from(base),
                selector: (base >> 4) as u16,
                limit: 0xffff,
                type_: 3,
                ..segment
            },
            Self::Protected { ring } | Self::Long { ring } => kvm_segment {
                selector: (index + u16::from(ring) / 3 * 2) << 3 | u16::from(ring),
                limit: u32::MAX,
                g: 1,
                l: u8::from(self.is_long() && type_ == CODE_TYPE),
                db: u8::from(!self.is_long() || type_ != CODE_TYPE),
                ..segment
            },
        }
    }
}

/// Types of accessed segments.
const CODE_TYPE: u8 = 11;
const DATA_TYPE: u8 = 3;

/// A vCPU that runs the loop, and no programs any more.
pub struct CpuidLoop<'a> {
    vcpu: &'a mut Vcpu,
    sregs: kvm_sregs,
    table: u32,
    faults: bool,
}

impl<'a> CpuidLoop<'a> {
    /// Nothing may run on the VM's other vCPUs meanwhile.
    pub fn new(vcpu: &'a mut Vcpu) -> Result<Self> {
        let memory = &vcpu.memory;
        memory.write(CODE, code());
        // All RAM, in large pages, for ring 3 as well.
        const USER: u64 = 7;
        memory.write(PML4, &(u64::from(PDPT) | USER).to_le_bytes());
        memory.write(PDPT, &(u64::from(PD) | USER).to_le_bytes());
        for (i, at) in (0..layout::RAM as u64).step_by(2 << 20).enumerate() {
            let entry = at | USER | 1 << 7;
            memory.write(PD + 8 * i as u32, &entry.to_le_bytes());
        }
        // Ring 0's stack. The zeros that follow permit ring 3 all ports.
        memory.write(TSS + 4, &STACK_END.to_le_bytes());
        memory.write(TSS + 8, &layout::DATA_SEL.to_le_bytes());
        memory.write(TSS + 0x66, &0x68_u16.to_le_bytes());
        let flat = |access: u64| 0x00cf_0000_0000_ffff | access << 40;
        for (i, access) in [0x9b, 0x93, 0xfb, 0xf3].into_iter().enumerate() {
            memory.write(GDT + 8 + 8 * i as u32, &flat(access).to_le_bytes());
        }
        let sregs = vcpu.fd.get_sregs()?;
        let table = TABLES + vcpu.id() * TABLE;
        ensure!(table + TABLE <= layout::WINDOWS, "too many vCPUs");
        Ok(Self {
            vcpu,
            sregs,
            table,
            faults: false,
        })
    }

    /// Executes a CPUID for each of `batch`, through KVM's emulator if `emulated`, and
    /// replaces it by the registers afterwards.
    pub fn run(&mut self, mode: Mode, emulated: bool, batch: &mut [Quad]) -> Result<()> {
        ensure!((1..=BATCH).contains(&batch.len()), "wrong size of a batch");
        self.enter_mode(mode)?;
        let (code, table) = match mode {
            Mode::Real | Mode::Virtual8086 => (0, 0),
            Mode::Protected { .. } | Mode::Long { .. } => (CODE, self.table),
        };
        let vm86 = u64::from(mode == Mode::Virtual8086) << 17;
        self.vcpu.fd.set_regs(&kvm_regs {
            rip: u64::from(code) + loop_at(mode, emulated) as u64,
            rsi: u64::from(table),
            rdi: batch.len() as u64,
            rsp: u64::from(STACK_END),
            // With IF clear Bochs lets no interrupt of the host end the run.
            rflags: 0x202 | vm86,
            ..Default::default()
        })?;
        let bytes: Vec<u8> = batch
            .iter()
            .flatten()
            .flat_map(|r| r.to_le_bytes())
            .collect();
        self.vcpu.memory.write(self.table, &bytes);
        let end = self.vcpu.enter()?;
        ensure!(
            end == End::Done,
            "an exception, in {mode:?}, emulated: {emulated}"
        );
        let mut bytes = bytes;
        self.vcpu.memory.read(self.table, &mut bytes);
        for (register, bytes) in batch.iter_mut().flatten().zip(bytes.chunks_exact(8)) {
            *register = u64::from_le_bytes(bytes.try_into()?);
        }
        Ok(())
    }

    /// Switches CPUID faulting in ring 3 on or off. In 32-bit mode a handler then
    /// continues the loop at the address in EBX, which is [`CpuidLoop::after`].
    pub fn set_faulting(&mut self, on: bool) -> Result<()> {
        let entry = kvm_msr_entry {
            index: MISC_FEATURES,
            data: u64::from(on),
            ..Default::default()
        };
        let msrs = Msrs::from_entries(&[entry]).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let set = self.vcpu.fd.set_msrs(&msrs)?;
        ensure!(set == 1, "KVM refuses CPUID faulting");
        self.faults = on;
        Ok(())
    }

    /// The address after the loop's CPUID, in 32-bit or 64-bit code.
    pub fn after(mode: Mode, emulated: bool) -> u32 {
        let from = loop_at(mode, emulated);
        let mut opcodes = code()[from..].windows(2);
        let cpuid = opcodes.position(|bytes| bytes == [0x0f, 0xa2]);
        CODE + (from + cpuid.expect("a CPUID in the loop") + 2) as u32
    }

    fn enter_mode(&mut self, mode: Mode) -> Result<()> {
        let mut sregs = self.sregs;
        let data = mode.segment(2, self.table, DATA_TYPE);
        sregs.cs = mode.segment(1, CODE, CODE_TYPE);
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        (sregs.fs, sregs.gs) = (data, data);
        sregs.tr = kvm_segment {
            base: u64::from(TSS),
            limit: layout::PAGE - 1,
            selector: 0x28,
            // VMX demands a busy TSS, and QEMU's emulation of SVM rejects one.
            type_: cpu::pick(11, 9),
            present: 1,
            ..Default::default()
        };
        sregs.gdt.base = u64::from(GDT);
        sregs.gdt.limit = 5 * 8 - 1;
        // Without handlers any exception shuts the guest down.
        if !self.faults {
            sregs.idt.limit = 0;
        }
        // ET and NE, then PE, then PG.
        sregs.cr0 = match mode {
            Mode::Real => 0x30,
            Mode::Virtual8086 | Mode::Protected { .. } => 0x31,
            Mode::Long { .. } => 0x8000_0031,
        };
        if mode.is_long() {
            sregs.cr3 = u64::from(PML4);
            sregs.cr4 = 0x20; // PAE
            sregs.efer = 0x500; // LME, LMA
        }
        Ok(self.vcpu.fd.set_sregs(&sregs)?)
    }
}

/// The loop's offset in the code.
fn loop_at(mode: Mode, emulated: bool) -> usize {
    (mode.size() * 2 + usize::from(emulated)) * LOOP
}

fn code() -> &'static [u8] {
    // SAFETY: the symbols delimit read-only bytes of this program's image, which are
    // assembled below as one piece.
    unsafe { between(&raw const e2e_fuzz_start, &raw const e2e_fuzz_end) }
}

unsafe extern "C" {
    static e2e_fuzz_start: u8;
    static e2e_fuzz_end: u8;
}

/// Bytes from one loop to the next.
const LOOP: usize = 128;

// Two loops for each size of code, the second with the prefix that makes KVM emulate
// an instruction. SI walks the table, and DI counts down.
global_asm!(
    ".pushsection .rodata.e2e_fuzz, \"a\", @progbits",
    ".macro e2e_loops a, b, c, d, at, left",
    ".irp emulated, 0, 1",
    ".balign {size}",
    "1: mov  (%\\at), %\\a",
    "   mov  8(%\\at), %\\b",
    "   mov  16(%\\at), %\\c",
    "   mov  24(%\\at), %\\d",
    ".if \\emulated",
    "   ud2",
    "   .ascii \"kvm\"",
    ".endif",
    "   cpuid",
    "   mov  %\\a, (%\\at)",
    "   mov  %\\b, 8(%\\at)",
    "   mov  %\\c, 16(%\\at)",
    "   mov  %\\d, 24(%\\at)",
    "   add  $32, %\\at",
    "   dec  %\\left",
    "   jnz  1b",
    "   out  %al, ${done}",
    ".endr",
    ".endm",
    ".balign {size}",
    ".globl e2e_fuzz_start",
    "e2e_fuzz_start:",
    ".code16",
    "   e2e_loops eax, ebx, ecx, edx, si, edi",
    ".code32",
    "   e2e_loops eax, ebx, ecx, edx, esi, edi",
    ".code64",
    "   e2e_loops rax, rbx, rcx, rdx, rsi, edi",
    ".globl e2e_fuzz_end",
    "e2e_fuzz_end:",
    ".popsection",
    size = const LOOP,
    done = const port::DONE,
    options(att_syntax),
);
