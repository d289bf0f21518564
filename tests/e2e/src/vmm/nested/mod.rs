// SPDX-License-Identifier: GPL-2.0
//! A guest hypervisor with a guest of its own.
//!
//! Both are the bare guest. The hypervisor enters its guest by an operation that ends
//! with the next exit that is reflected to it. The guest's guest runs a program from a
//! window of its own, and has no other way out than exits. The hypervisor sets all of
//! this up by itself, unknown to the VMM.

mod hypervisor;
pub mod svm;
pub mod vmx;

use super::cpu::{self, HYPERCALL};
use super::layout;
use super::ops::Op;
use super::program::Program;
use super::vm::Vm;
use anyhow::{Result, ensure};
use hypervisor::{COMMANDS, Hypervisor, PAGE_DIRECTORY, REGISTERS};
pub use hypervisor::{HOST_AREA, Intercept, SPARE_BLOCK, intercept};

/// How the guest's guest hands over to its hypervisor.
pub const CALL: Intercept = intercept(Op::Vmcall, 0, HYPERCALL, 3);

fn hypervisor() -> &'static Hypervisor {
    cpu::pick(&vmx::HYPERVISOR, &svm::HYPERVISOR)
}

/// A VM whose hypervisor is ready to run `guest` with `intercepts`.
pub fn set_up(guest: &Program, intercepts: &[Intercept]) -> Result<Vm> {
    let mut vm = Vm::plain()?;
    let mut program = Program::new();
    let bytes = guest.bytes();
    for (at, word) in (COMMANDS..).step_by(4).zip(bytes.chunks_exact(4)) {
        let word = u32::from_le_bytes(word.try_into()?);
        program.call(Op::Store, word, at);
    }
    // ESI, after EDI, which a guest without results does not use.
    program.call(Op::Store, COMMANDS, REGISTERS + 4);
    for megabytes in [0, 4, 8, 12] {
        let entry = megabytes << 20 | 0xe3; // 4 MB, present, writable, used
        program.call(Op::Store, entry, PAGE_DIRECTORY + megabytes);
    }
    program.call(Op::Paging, hypervisor().cr4, PAGE_DIRECTORY);
    vm.run(&program)?;
    (hypervisor().set_up)(&mut vm, intercepts)?;
    Ok(vm)
}

/// A VM whose hypervisor has entered its guest, which has touched the pages that it
/// needs, has made a call, and will run `guest` next. The hypervisor intercepts calls
/// as well.
pub fn launch(guest: &Program, intercepts: &[Intercept]) -> Result<Vm> {
    let mut program = Program::new();
    program.repeat(Op::Touch, layout::SHARED_PAGES, 0);
    program.repeat(Op::Touch, layout::TABLE / layout::PAGE, COMMANDS);
    program.repeat(CALL.op, 1, CALL.arg);
    program.append(guest);
    let mut vm = set_up(&program, &[intercepts, &[CALL]].concat())?;

    let mut launch = Program::new();
    launch.call(hypervisor().launch, 0, 0);
    ask_why(&mut launch);
    let got = vm.run(&launch)?;
    let (failed, why) = (got[0][0], got[1][0]);
    ensure!(
        failed == 0 && why == CALL.reason.number(),
        "entry: {failed:#x}, exit reason {why:#x}"
    );
    Ok(vm)
}

/// Has the hypervisor let its guest go on after an instruction of `len` bytes. EAX of
/// the second result is the reason of the guest's next exit.
pub fn go_on(program: &mut Program, len: u32) {
    program.call(hypervisor().skip, len, 0);
    program.repeat(hypervisor().resume, 1, 0);
    ask_why(program);
}

/// The hypervisor's own exits for [`go_on`] that many times: reason, number.
pub fn cost(times: u32) -> Vec<(u32, u32)> {
    let each = hypervisor().cost.iter();
    each.map(|&(reason, n)| (reason, n * times)).collect()
}

fn ask_why(program: &mut Program) {
    let (op, arg) = hypervisor().why;
    program.call(op, 0, arg);
}
