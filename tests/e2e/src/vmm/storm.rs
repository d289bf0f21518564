// SPDX-License-Identifier: GPL-2.0
//! Many exits beside a test.

use super::ops::Op;
use super::program::Program;
use super::vcpu::Vcpu;
use crate::harness::threads;
use anyhow::Result;
use profile::leaf::TOTAL_EXITS;

/// Does `what` while `vcpus` exit as fast as they can.
pub fn while_storming<T>(vcpus: &mut [Vcpu], what: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 500, 0);
    program.repeat(Op::Wbinvd, 500, 0);
    program.repeat(Op::Cpuid, 50, TOTAL_EXITS);
    let program = &program;
    let storms = vcpus.iter_mut();
    let storms = storms.map(|vcpu| move || vcpu.run(program).map(drop));
    threads::beside(storms, what)
}
