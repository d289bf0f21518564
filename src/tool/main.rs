// SPDX-License-Identifier: GPL-2.0

//! exitprof: reads the profile of VM exits inside a guest.

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use kvm_exitprof::profile::{
    counts::{Row, Sample},
    leaf::{self, Answer, Protocol, Query, Registers},
    reason::{Isa, Status},
};
use std::arch::x86_64::__cpuid_count;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Shows which VM exits this guest's host has counted, and what they cost.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  exitprof sweep          the exits that occurred, by reason
  exitprof sweep --all    all reasons, and how KVM treats them"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the host for the exits and cycles of every exit reason
    Sweep {
        /// Show reasons without an exit, too
        #[arg(long)]
        all: bool,
    },
}

fn main() -> ExitCode {
    let Command::Sweep { all } = Arguments::parse().command;
    match sweep(all, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("exitprof: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.downcast_ref::<io::Error>().map(io::Error::kind) == Some(ErrorKind::BrokenPipe)
}

/// The CPUID instruction: leaf `eax`, parameter `ecx`.
fn cpuid(eax: u32, ecx: u32) -> Registers {
    // SAFETY: every x86-64 processor has the instruction.
    #[allow(unused_unsafe)]
    let r = unsafe { __cpuid_count(eax, ecx) };
    Registers {
        eax: r.eax,
        ebx: r.ebx,
        ecx: r.ecx,
        edx: r.edx,
    }
}

/// What the host answers; `None` if the leaf is not the profiler's.
fn ask(eax: u32, ecx: u32) -> Option<Answer> {
    Some(Query::new(eax, ecx)?.decode(cpuid(eax, ecx)))
}

/// The exits and cycles of `reason`, `None` if the host does not know it. Each
/// question is an exit of its own, so cycles are asked for where there are some.
fn read(reason: u32) -> Option<Sample> {
    match ask(leaf::EXITS, reason)? {
        Answer::Exits(0) => Some(Sample::default()),
        Answer::Exits(exits) => match ask(leaf::CYCLES, reason)? {
            Answer::Cycles(cycles) => Some(Sample { exits, cycles }),
            _ => None,
        },
        _ => None,
    }
}

fn sweep(all: bool, out: &mut impl Write) -> Result<()> {
    if cpuid(leaf::DISCOVERY, 0) != leaf::PRESENT {
        bail!(
            "leaf {:#x} is not answered by kvm_exitprof: run this in a guest of a host that has it loaded",
            leaf::DISCOVERY
        );
    }
    let number = Protocol::from(cpuid(leaf::PROTOCOL, 0)).isa;
    let Some(isa) = Isa::from_number(number) else {
        bail!(
            "the host's instruction set is number {number}, and this exitprof knows only VMX (1) and SVM (2)"
        );
    };

    writeln!(out, "{}", Row::HEAD)?;
    for reason in (0..isa.slots()).filter_map(|slot| isa.reason(slot)) {
        let (number, name) = (isa.number(reason), isa.name(reason));
        match (read(reason), isa.status(reason)) {
            (None, _) if all => writeln!(out, "{}", Row(number, name, "undefined", ""))?,
            (Some(_), Status::Unhandled) if all => {
                writeln!(out, "{}", Row(number, name, "not handled", ""))?
            }
            (Some(Sample { exits, cycles }), _) if all || exits > 0 => {
                writeln!(out, "{}", Row(number, name, exits, cycles))?
            }
            _ => (),
        }
    }
    if let Some(Answer::Sample(Sample { exits, cycles })) = ask(leaf::HIDDEN, 0) {
        if all || exits > 0 {
            writeln!(out, "{}", Row("hidden", "", exits, cycles))?;
        }
    }
    Ok(())
}
