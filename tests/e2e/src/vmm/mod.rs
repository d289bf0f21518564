// SPDX-License-Identifier: GPL-2.0
//! A small VMM and its bare guests.
//!
//! A test describes what a guest does as a [`Program`], and runs it on a [`Vcpu`].

mod blob;
pub mod cpu;
mod cpuid_loop;
mod interpreter;
pub mod layout;
mod memory;
pub mod nested;
pub mod ops;
pub mod port;
mod program;
mod stat;
mod storm;
mod vcpu;
mod vm;

pub use cpuid_loop::{BATCH, CpuidLoop, Mode, Quad};
pub use ops::Op;
pub use program::{GARBAGE, Program, Query, Regs};
pub use storm::while_storming;
pub use vcpu::{End, Vcpu};
pub use vm::{Bare, Config, Vm};
