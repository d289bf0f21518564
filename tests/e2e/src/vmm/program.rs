// SPDX-License-Identifier: GPL-2.0
//! What a guest does, command by command.
//!
//! A [`Program`] is an array of 16-byte commands in guest memory. The interpreter
//! works through it, and leaves a 16-byte result for each command that reads.

use super::ops::{self, Op};

/// EAX and ECX of a CPUID: the leaf and the subleaf.
pub type Query = (u32, u32);

/// EAX, EBX, ECX, EDX as the guest stored them.
pub type Regs = [u32; 4];

/// What registers hold before a CPUID, where they are no input.
pub const GARBAGE: u32 = 0xdead_beef;

/// One command, as the interpreter reads it.
#[derive(Clone, Copy)]
struct Command {
    kind: u32,
    a: u32,
    b: u32,
    arg: u32,
}

/// Kinds of commands.
pub mod kind {
    pub const DONE: u32 = 0;
    pub const CPUID: u32 = 1;
    pub const EMULATED: u32 = 2;
    pub const REPEAT: u32 = 3;
    pub const TSC: u32 = 4;
    pub const CALL: u32 = 5;
}

/// What one run of the guest does.
#[derive(Clone, Default)]
pub struct Program {
    commands: Vec<Command>,
    reads: usize,
}

impl Program {
    pub fn new() -> Self {
        Self::default()
    }

    /// Does `op` `count` times, with `arg` where it looks for one.
    pub fn repeated(op: Op, count: u32, arg: u32) -> Self {
        let mut program = Self::new();
        program.repeat(op, count, arg);
        program
    }

    /// Executes a CPUID for each query.
    pub fn cpuids(queries: &[Query]) -> Self {
        let mut program = Self::new();
        for &(eax, ecx) in queries {
            program.cpuid(eax, ecx);
        }
        program
    }

    /// Executes CPUID once, with garbage in EBX and EDX, and returns the index of its
    /// result.
    pub fn cpuid(&mut self, eax: u32, ecx: u32) -> usize {
        self.read(kind::CPUID, eax, ecx)
    }

    /// Does so through KVM's instruction emulator.
    pub fn emulated_cpuid(&mut self, eax: u32, ecx: u32) -> usize {
        self.read(kind::EMULATED, eax, ecx)
    }

    /// Reads the guest's TSC into EAX (low) and EBX (high) of the result.
    pub fn tsc(&mut self) -> usize {
        self.read(kind::TSC, 0, 0)
    }

    /// Does `op` `count` times, with `arg` where it looks for one.
    pub fn repeat(&mut self, op: Op, count: u32, arg: u32) {
        assert!(count > 0, "the interpreter counts down to zero");
        self.commands.push(Command {
            kind: kind::REPEAT,
            a: ops::address(op),
            b: count,
            arg,
        });
    }

    /// Does `op` once with `value` in ECX, and returns the index of the result: the
    /// registers as `op` leaves them.
    pub fn call(&mut self, op: Op, value: u32, arg: u32) -> usize {
        self.push_read(Command {
            kind: kind::CALL,
            a: ops::address(op),
            b: value,
            arg,
        })
    }

    /// Appends the commands of `other`.
    pub fn append(&mut self, other: &Self) {
        self.commands.extend(&other.commands);
        self.reads += other.reads;
    }

    /// How many results the program leaves.
    pub fn reads(&self) -> usize {
        self.reads
    }

    /// The commands with the end mark, as guest memory holds them.
    pub fn bytes(&self) -> Vec<u8> {
        let end = Command {
            kind: kind::DONE,
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
