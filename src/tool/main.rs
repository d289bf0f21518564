// SPDX-License-Identifier: GPL-2.0

//! exitprof: reads the profile of VM exits inside a guest.

use anyhow::{bail, Result};
use clap::{Parser, Subcommand};
use kvm_exitprof::profile::{
    counts::Sample,
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

/// The exits and cycles of `reason`, `None` if the host does not know it.
fn read(reason: u32) -> Option<Sample> {
    let ask = |eax, query: Query| query.decode(cpuid(eax, reason));
    let exits = ask(leaf::EXITS, Query::Exits { reason });
    let cycles = ask(leaf::CYCLES, Query::Cycles { reason });
    match (exits, cycles) {
        (Answer::Exits(exits), Answer::Cycles(cycles)) => Some(Sample { exits, cycles }),
        _ => None,
    }
}

fn sweep(all: bool, out: &mut impl Write) -> Result<()> {
    if cpuid(leaf::DISCOVERY, 0) != leaf::PRESENT {
        bail!("the host does not answer leaf {:#x} as kvm_exitprof does: this is no guest of a host that has it loaded", leaf::DISCOVERY);
    }
    let protocol = Protocol::from(cpuid(leaf::PROTOCOL, 0));
    if protocol.isa != Isa::Vmx as u8 {
        bail!(
            "the host's instruction set is number {}, and this exitprof knows only VMX (1)",
            protocol.isa
        );
    }

    let isa = Isa::Vmx;
    writeln!(
        out,
        "{:>6} {:<20} {:>16} {:>20}",
        "reason", "name", "exits", "cycles"
    )?;
    for reason in (0..isa.slots()).filter_map(|slot| isa.reason(slot)) {
        let name = isa.name(reason).to_string();
        match (read(reason), isa.status(reason)) {
            (None, _) if all => writeln!(out, "{reason:>6} {name:<20} {:>16}", "undefined")?,
            (Some(_), Status::Unhandled) if all => {
                writeln!(out, "{reason:>6} {name:<20} {:>16}", "not handled")?
            }
            (Some(Sample { exits, cycles }), _) if all || exits > 0 => {
                writeln!(out, "{reason:>6} {name:<20} {exits:>16} {cycles:>20}")?
            }
            _ => (),
        }
    }
    let hidden = Query::Hidden.decode(cpuid(leaf::HIDDEN, 0));
    if let Answer::Sample(Sample { exits, cycles }) = hidden {
        if all || exits > 0 {
            writeln!(out, "{:>6} {:<20} {exits:>16} {cycles:>20}", "other", "")?;
        }
    }
    Ok(())
}
