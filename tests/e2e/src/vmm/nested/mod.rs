// SPDX-License-Identifier: GPL-2.0
//! A guest hypervisor with a guest of its own.
//!
//! Both are the bare guest of [`crate::vmm::guest`]. The hypervisor enters its guest
//! by an operation that is over when an exit has been reflected to it. The
//! guest's guest runs a program from a window of its own, and has no other way
//! to the outside than exits. The hypervisor sets everything up by itself: the
//! VMM knows nothing of all this.

use crate::vmm::cpu::{self, HYPERCALL, Reason};
use crate::vmm::guest::{Program, layout};
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Result, ensure};
use profile::isa::Isa;

pub mod svm;
pub mod vmx;

/// What lies in guest memory from [`layout::NESTED`] on, a page each. The
/// registers of the guest's guest come first, as PUSHA leaves them, and then
/// the hypervisor's stack pointer; [`crate::vmm::ops`] knows that.
const REGISTERS: u32 = layout::NESTED;
/// A VMCS or VMCB beside [`layout::CONTROL_BLOCK`], which its guest runs by.
pub const SPARE_BLOCK: u32 = layout::NESTED + 2 * layout::PAGE;
/// What VMXON asks for, or where VMRUN saves the hypervisor's state.
pub const HOST_AREA: u32 = layout::NESTED + 3 * layout::PAGE;
const PAGE_DIRECTORY: u32 = layout::NESTED + 4 * layout::PAGE;
const VIRTUAL_APIC: u32 = layout::NESTED + 5 * layout::PAGE;
/// Two pages.
const MSR_BITMAP: u32 = layout::NESTED + 6 * layout::PAGE;

/// Where the program of the guest's guest is, and the end of its stack.
const COMMANDS: u32 = layout::WINDOWS + layout::WINDOW + layout::TABLE;
const STACK: u32 = layout::WINDOWS + 2 * layout::WINDOW;

/// CR0 of both guests: PG, NE, ET, PE.
const CR0: u32 = 0x8000_0031;

/// An operation of the guest's guest that exits to its hypervisor.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub op: Op,
    pub arg: u32,
    pub reason: Reason,
    /// The length of the instruction, which the hypervisor skips.
    pub len: u32,
}

pub const fn exit(op: Op, arg: u32, reason: Reason, len: u32) -> Exit {
    Exit {
        op,
        arg,
        reason,
        len,
    }
}

/// By which the guest's guest hands over to its hypervisor.
pub const CALL: Exit = exit(Op::Vmcall, 0, HYPERCALL, 3);

/// What differs between the instruction sets.
struct Kind {
    /// CR4 of both guests.
    cr4: u32,
    /// Has all ready but the guest's program and paging.
    set_up: fn(&mut Vm, &[Exit]) -> Result<()>,
    launch: Op,
    resume: Op,
    skip: Op,
    /// Reads why the guest's guest exited, by the argument.
    why: (Op, u32),
    /// The hypervisor's own exits for [`go_on`]: reason, number.
    cost: &'static [(u32, u32)],
}

fn kind() -> &'static Kind {
    match cpu::isa() {
        Isa::Vmx => &vmx::KIND,
        Isa::Svm => &svm::KIND,
    }
}

/// A VM whose hypervisor is ready to run `guest`, and asks for `exits`.
pub fn set_up(guest: &Program, exits: &[Exit]) -> Result<Vm> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    let bytes = guest.bytes();
    for (at, word) in (COMMANDS..).step_by(4).zip(bytes.chunks_exact(4)) {
        let word = u32::from_le_bytes(word.try_into()?);
        program.call(Op::Store, word, at);
    }
    // EDI, which results would go to, is not used; then comes ESI.
    program.call(Op::Store, COMMANDS, REGISTERS + 4);
    for megabytes in [0, 4, 8, 12] {
        let entry = megabytes << 20 | 0xe3; // 4 MB, present, writable, used
        program.call(Op::Store, entry, PAGE_DIRECTORY + megabytes);
    }
    program.call(Op::Paging, kind().cr4, PAGE_DIRECTORY);
    vm.run(&program)?;
    (kind().set_up)(&mut vm, exits)?;
    Ok(vm)
}

/// The same, with a guest that has touched what it needs, has made a call, and
/// will then run `guest`. The hypervisor asks for calls, too.
pub fn launch(guest: &Program, exits: &[Exit]) -> Result<Vm> {
    let mut program = Program::new();
    program.repeat(Op::Touch, layout::SHARED_PAGES, 0);
    program.repeat(Op::Touch, layout::TABLE / layout::PAGE, COMMANDS);
    program.repeat(CALL.op, 1, CALL.arg);
    program.append(guest);
    let mut vm = set_up(&program, &[exits, &[CALL]].concat())?;

    let mut launch = Program::new();
    launch.call(kind().launch, 0, 0);
    ask_why(&mut launch);
    let got = vm.run(&launch)?;
    let (failed, why) = (got[0][0], got[1][0]);
    ensure!(
        failed == 0 && why == CALL.reason.number(),
        "entry: {failed:#x}, exit reason {why:#x}"
    );
    Ok(vm)
}

/// The hypervisor lets its guest go on behind an instruction of `len` bytes, and
/// reads into EAX of a second result why it exits next.
pub fn go_on(program: &mut Program, len: u32) {
    program.call(kind().skip, len, 0);
    program.repeat(kind().resume, 1, 0);
    ask_why(program);
}

/// The hypervisor's own exits for `times` times that.
pub fn cost(times: u32) -> Vec<(u32, u32)> {
    let each = kind().cost.iter();
    each.map(|&(reason, n)| (reason, n * times)).collect()
}

fn ask_why(program: &mut Program) {
    let (op, arg) = kind().why;
    program.call(op, 0, arg);
}
