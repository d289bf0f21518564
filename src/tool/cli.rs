// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::commands::{diff, generate, record, report, schema, stat, sweep, top};
use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use std::process::ExitCode;

/// Shows VM exits and the cycles of their handling, on a host and in its guests
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 80,
    after_help = "\
On a host, exitprof reads debugfs (as root); in a guest, the host's answers to
CPUID.

Exit status: 0 if all is well, 1 after an error, 2 if the command line makes no
sense. `stat -- COMMAND` ends as COMMAND does; with 127 if it is not found, 126
if it cannot be run, and 128 and the signal's number if a signal ends it.

Examples:
  exitprof report               what was counted so far, and what it means
  exitprof report --sort time   the reasons that took most time first
  exitprof report --by vm       the VMs with most exits
  exitprof top                  what is counted, live
  exitprof stat 1               what is counted each second
  exitprof stat -- make         what is counted while make runs
  exitprof record before.json   keep what was counted so far"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what was counted so far, and what it means
    #[command(after_help = "\
Samples are exits; Time is that of their handling, and Min, Max, Avg, p50 and
p99 that of one exit. Shares are of all exits of the host, or of the VMs and
vCPUs that are chosen. Bars are of Samples, with --sort time of Time.
Percentiles come from a histogram of powers of two, and are off by less than a
factor of two. VMs and vCPUs have no histograms, nor have guests. Some exits are
counted but not timed, as KVM re-enters the guest at once: a line under the
table says how many. Times are of the others, and - is a time that is unknown.

Examples:
  exitprof report --top 5              the five most frequent reasons
  exitprof report --sort p99           those with the slowest exits first
  exitprof report --vm 4123 --vcpu 0   of vCPU 0 of the VM of process 4123
  exitprof report --by vcpu --reason HLT
  exitprof report --rate 10            watch whether the rate is stable
  exitprof report -i before.json       what was recorded
  exitprof report --format json | jq .total")]
    Report(report::Arguments),
    /// Show what is counted in intervals, or while a command runs
    #[command(after_help = "\
Ends with what all of it comes to, also after Ctrl-C, and whether the rate was
stable. If the counters are others in between, as they start from zero or are
another VM's, it says so: then intervals go on with these, and rates and totals
begin anew. Min and Max of an interval are bounds, if they are not new ones. In
a guest, the exits that reading itself causes are left out; as their cycles are
not known, those of CPUID are reduced in proportion.

Examples:
  exitprof stat                   until Ctrl-C
  exitprof stat 1                 each second
  exitprof stat 0.5 20 --top 3    20 times half a second
  exitprof stat -- make -j8       while make runs
  exitprof stat -o exits.csv --format csv -- ./benchmark")]
    Stat(stat::Arguments),
    /// Watch what is counted now
    #[command(after_help = "\
Samples/s is of the last interval; the other columns are since the baseline,
which is when top began, when b was pressed, or when the counters became others,
as those of another VM. Press ? for the keys.

Examples:
  exitprof top                 once a second
  exitprof top -d 0.2          five times a second
  exitprof top --vm 4123       the VM of process 4123")]
    Top(top::Arguments),
    /// Keep what was counted so far in a file
    #[command(after_help = "\
Examples:
  exitprof record before.json
  exitprof record - | ssh host exitprof report -i -")]
    Record(record::Arguments),
    /// Compare two recordings: which reasons moved, and by how much
    #[command(after_help = "\
If B goes on counting from A, diff compares what was added since with what was
before. Otherwise it compares B with A as it is and says why: the counters
started from zero, the module was loaded again, the host, VM or vCPU is another,
or a counter is lower. A recording tells what it counts, and no clock is asked:
that of a guest starts anew with the guest. Recordings of older modules do not
tell; then the counters decide. Per exit (Avg), all can be compared; in total
(Samples, Time) per second, if both say since when they count, which those of
guests do not. Reasons that moved most in total come first.

Examples:
  exitprof diff before.json after.json
  exitprof diff --top 5 before.json after.json")]
    Diff(diff::Arguments),
    /// Ask the host for the exits and cycles of every exit reason
    #[command(after_help = "\
Only in a guest; on a host, report --all lists all reasons.

Examples:
  exitprof sweep          the exits that occurred, by reason
  exitprof sweep --all    all reasons, and how KVM treats them")]
    Sweep(sweep::Arguments),
    /// Describe JSON and CSV
    #[command(long_about = schema::SCHEMA, verbatim_doc_comment)]
    Schema,
    /// Make man pages, or a shell's completions
    #[command(after_help = "\
Examples:
  exitprof generate man /usr/local/share/man/man1
  exitprof generate bash /etc/bash_completion.d")]
    Generate(generate::Arguments),
}

/// Does what was asked for.
///
/// # Errors
///
/// If it cannot be done: says why, and what to do.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut out = anstream::stdout();
    match arguments.command {
        Command::Report(arguments) => report::run(&arguments, &mut out)?,
        Command::Stat(arguments) => return stat::run(&arguments),
        Command::Top(arguments) => top::run(&arguments)?,
        Command::Record(arguments) => record::run(&arguments, &mut out)?,
        Command::Diff(arguments) => diff::run(&arguments, &mut out)?,
        Command::Sweep(arguments) => sweep::run(&arguments, &mut out)?,
        Command::Schema => schema::run(&mut out)?,
        Command::Generate(arguments) => generate::run(&arguments, Arguments::command())?,
    }
    Ok(ExitCode::SUCCESS)
}
