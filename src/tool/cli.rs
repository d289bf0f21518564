// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::{
    commands::{
        check, control, diff, exporter, generate, plot, record, report, schema, stat, sweep, top,
    },
    recording, render, snapshot,
};
use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use std::{io::Write, process::ExitCode, sync::LazyLock};

/// Shows KVM's VM exits and the time spent handling them, on a host and in its guests
#[derive(Debug, Parser)]
#[command(
    version,
    long_version = VERSIONS.as_str(),
    max_term_width = 80,
    after_help = "\
On a host, exitprof reads debugfs, which needs root. In a guest, it asks the
host through the CPUID instruction, which needs no privileges. On a host without
the module, it counts by BPF itself while it runs, which needs root.

Exit status: 0 on success, 1 on an error, 2 if the command line is wrong, 3 if
`diff --fail-above` finds more than it allows, or `check` what is not normal.
`stat -- COMMAND` and `record FILE -- COMMAND` exit with the status of COMMAND:
127 if it is not found, 126 if it cannot be run, and 128 plus the signal's
number if a signal ends it. If COMMAND succeeds, but the figures cannot be
printed, the status is 1.

Examples:
  exitprof report               what was counted so far, and what it means
  exitprof report --for 10      what is counted in the next 10 s
  exitprof report --sort time   the same, sorted by time
  exitprof report --by vm       the VMs with the most exits
  exitprof top                  what is being counted, live
  exitprof stat 1               what each second counts
  exitprof stat --phases 1      where each second of the vCPUs' time went
  exitprof stat -- make         what is counted while make runs
  exitprof record before.json   save what was counted so far
  exitprof diff before.json after.json
  exitprof check baseline.series new.series"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what was counted so far, and what it means
    #[command(after_help = "\
Time is the time that KVM spends handling exits; Min, Max, Avg, p50 and p99 are
times of single exits. Percentages refer to all exits of the host, or of the
selected VMs and vCPUs: Time% is the share of the time of their handlers. Bars
show Exits%, or with --sort time Time%.

With --phases, time is that of vCPUs, and Time% the share of it that exits of a
reason led to. A recording of a period has averages; others have shares, because
there may have been exits before phases were recorded.

With --as perf, columns and times are those of perf kvm stat report. It measures
from exit to entry, which takes phases: without any, times stay the handlers'.

Without the module, exitprof counts by BPF while it runs, so --for is needed.
Times are then from exit to entry, with userspace and halts.

Percentiles are interpolated in a histogram of powers of two, so they are off by
less than a factor of two. VMs, vCPUs and guests have no histograms.

With --details, the lines below a reason add up to it: others are exits from
before details were recorded, and of details that had too few exits to be kept.
Error says how many of the others, at most, belong to a line, too. In times,
exits that were not timed count as 0.

After some exits KVM re-enters the guest at once. These exits are counted but
not timed: a line below the table says how many. Times are those of the other
exits; - marks an unknown time.

Examples:
  exitprof report --top 5              the five most frequent reasons
  exitprof report --sort p99           the reasons with the slowest exits first
  exitprof report --vm 4123 --vcpu 0   vCPU 0 of the VM of process 4123
  exitprof report --by vcpu --reason HLT
  exitprof report --histogram --reason HLT
  exitprof report --rate 10            watch whether the rate is stable
  exitprof report -i before.json       what was recorded
  exitprof report -i minute.series --between 10s 20s
  exitprof report --phases             where the time of vCPUs went
  exitprof report --details --top 5    ports, MSRs and so on behind each reason
  exitprof report --details CPUID --device devices
  exitprof report --by rip,reason --symbols System.map
  exitprof report --level l2           what nested guests cause
  exitprof report --as perf --top 9    as perf kvm stat report shows it
  exitprof report --format json | jq .total")]
    Report(report::Arguments),
    /// Show what is counted in intervals, or while a command runs
    #[command(after_help = "\
With --line, rates are in columns, of as many reasons as there is room for: of
those that --reason selects, or of those with the most exits so far. CPU% is the
share of all CPUs' time, spent in handlers. With --phases, the columns are the
guest and the phases, in percent of the time of all vCPUs. Time% is the share of
the time of all exits, or with --phases of all vCPUs.

At the end, also on Ctrl-C, SIGTERM or SIGHUP, stat sums up all intervals and
says whether the rate was stable. The interval that a signal ends is in the sum,
but not in that verdict. If stat is stopped for longer than an interval, that
time is one long interval. With COMMAND, signals are passed on to it.

The counters may be replaced meanwhile: they start from zero, or after a
migration they are another VM's. stat says so, goes on with the new ones, and
starts over with totals and rates.

Min and Max of an interval are bounds, unless the interval set a new minimum or
maximum. In a guest, stat leaves out the exits that its own reading causes;
their cycles are unknown, so it reduces those of CPUID in proportion.

Examples:
  exitprof stat                   until Ctrl-C
  exitprof stat 1                 each second
  exitprof stat 0.5 20 --top 3    half a second, 20 times
  exitprof stat --line            a line each second, as vmstat prints
  exitprof stat --phases --line   where each second of the vCPUs' time went
  exitprof stat --phases -- make  where the vCPUs' time goes while make runs
  exitprof stat -- make -j8       while make runs
  exitprof stat --by reason,detail -- make
  exitprof stat -r 5 -- make -j8  five times, on average
  exitprof stat -o exits.csv --append --format csv --line 60")]
    Stat(stat::Arguments),
    /// Watch what is being counted
    #[command(after_help = "\
Exits/s is the rate in the last interval. The other columns count from the
baseline: when top started, when you pressed b, or when the counters were
replaced, for example by another VM's. Shares refer to all exits of the host, or
of the VM or vCPU that is shown: Time% is the share of the time of handlers. The
total is of the rows. Press ? for the keys.

With --phases, or after the key t, a bar shows where the time of each vCPU or VM
went in the last interval: each part of it has a mark and a colour.

Examples:
  exitprof top                 once a second
  exitprof top -d 0.2          five times a second
  exitprof top --vm 4123       the VM of process 4123
  exitprof top --phases        where the time of vCPUs goes
  exitprof top -b -n 1         once, as text")]
    Top(top::Arguments),
    /// Save what was counted so far, or in a period, to a file, or a series of that
    #[command(after_help = "\
report -i and diff read recordings. Two periods can be compared, whatever was
counted in between: record each with --for, or with a command. Ctrl-C ends a
period early.

With --interval, the file has a snapshot for the end of each interval. It can be
read while it grows. If exitprof is killed, all but the last snapshot is there,
and after a loss of power all but the last second. report and diff show what a
series counted in all, or what --at or --between choose; check finds out what is
normal. A snapshot takes about 2 KB, and 0.4 KB for each vCPU with counters.

Examples:
  exitprof record before.json
  exitprof record --for 10 idle.json        ten seconds
  exitprof record make.json -- make -j8     while make runs
  exitprof record --interval 1 --count 60 minute.series
  exitprof record --interval 0.5 make.series -- make -j8
  exitprof record - | ssh host exitprof report -i -")]
    Record(record::Arguments),
    /// Compare recordings: what changed, and by how much
    #[command(after_help = "\
The first recording, A, is what the last one is compared with. Those in between
are shown if there is room.

Recordings by BPF have other times than those of the module: from exit to entry,
not those of handlers. diff does not compare one with the other.

Recordings of periods are compared as they are. If B continues A, B is what was
added since A. Otherwise it is the whole of B, and diff says why: the counters
started from zero, the module was reloaded, the host, VM or vCPU differs, or a
counter is lower.

A recording says what it counts, so diff needs no clock: a guest's clock starts
over when the guest does. Recordings of older modules do not say what they
count; then only the counters decide.

Averages (Avg) can always be compared. Totals (Exits, Time) are per second if
all recordings say how long they counted; those of a guest do not, unless they
are of a period. Totals are not per second if each recording is of a command,
which does the same work however long it takes.

With --phases, the parts of the time of all vCPUs are compared, and then what
exits of each reason led to. Times are those of a vCPU's second, unless each
recording is of a command.

--fail-above compares the sums of exits and time, or if these cannot be
compared, the average time of an exit.

Examples:
  exitprof diff before.json after.json
  exitprof diff --top 5 --sort exits before.json after.json
  exitprof diff --by vm,reason --reason HLT before.json after.json
  exitprof diff --by reason,detail before.json after.json
  exitprof diff minute.series --between 0s 10s --between 50s 60s
  exitprof diff --phases --top 5 before.json after.json
  exitprof diff --fail-above 10% before.json after.json")]
    Diff(diff::Arguments),
    /// Check whether what is counted is normal, against a baseline
    #[command(after_help = "\
The baseline is a series of what is normal. What is checked is another series,
a recording of a period, or this host or guest: now. Record both under the same
work, in intervals of the same length: shorter ones are joined.

Each reason has three figures: exits per second, the time of handlers per
second, and the time that 99% of exits do not exceed. Each is the median of
those of the intervals. A figure is normal up to the baseline's and N times its
noise, or PERCENT of it, whichever is more.

The noise is the standard error of the difference of two such medians. It is
taken from the baseline: from the median absolute deviation of its intervals,
and from how much each has in common with the next one. It is at least that of
exits that come independently of each other.

A reason with fewer than 10 exits in an interval is judged by all of its exits
instead, which are at least as noisy as independent ones. It has no other
figures. p99 takes 100 timed exits in an interval, and a module that keeps
histograms, on a host.

Intervals in which the counters were replaced, or recording was off, are left
out. With the default N, noise alone lets fewer than one figure in 1,000 seem
abnormal. But the noise is that of the baseline: what differs from run to run or
from boot to boot is not in it. PERCENT allows for that.

The exit status is 0 if all figures are normal, and 3 if one is above its limit.

Examples:
  exitprof record --interval 1 --count 60 baseline.series
  exitprof check baseline.series                  this host, for 10 intervals
  exitprof check baseline.series new.series
  exitprof check --noise 8 --change 25% baseline.series new.series
  exitprof check --format json baseline.series new.series | jq .normal")]
    Check(check::Arguments),
    /// Draw a picture of what was counted: an SVG or PNG
    #[command(after_help = "\
exits, histogram and phases are of what was counted so far, of a recording, or
of two, which are compared. rate needs a series; phases and heatmap show a
series over time, and with --at what was counted until then.

Bars and lines are the time that KVM spends handling exits, as in report; those
of phases are shares of the time of vCPUs. Pictures have a white background, and
colours that the colour-blind can tell apart. A PNG has two pixels for each of
the SVG's in each direction, and needs no fonts on this machine.

Examples:
  exitprof plot exits -o exits.svg
  exitprof plot exits --by vm -o vms.png
  exitprof plot histogram --reason EPT_VIOLATION -o ept.svg
  exitprof plot exits -i before.json -i after.json -o change.svg
  exitprof plot phases -i make.json -o phases.svg
  exitprof plot rate -i day.series --between 14:00 15:00 -o rate.svg
  exitprof plot heatmap -i day.series --sort time -o vcpus.png")]
    Plot(plot::Arguments),
    /// Let Prometheus and the like read what is counted, over HTTP
    #[command(after_help = "\
The metrics are at /metrics, as OpenMetrics 1.0 or in Prometheus' own format: as
the client prefers. exitprof_up is 0 if the counters cannot be read. A page is
used again for a second.

With --by vm or vcpu, exits of VMs are in exitprof_vm_exits_total and the like.
The first N get series of their own, for as long as they exist. The rest is
summed up with the label vm=\"other\", as are VMs that ended before exitprof
started. When a VM ends, its series end, and their last values are added to
exitprof_ended_exits_total. So exitprof_exits_total is the sum of both.

Without the module, --source bpf counts while the exporter runs. Times are then
from exit to entry.

There is neither encryption nor authentication: put a proxy in front, or let
systemd pass a Unix socket.

Examples:
  exitprof exporter
  exitprof exporter --by vcpu --limit 1000
  exitprof exporter --listen '[::]:10777'")]
    Exporter(exporter::Arguments),
    /// Ask the host for the exits and cycles of every reason
    #[command(after_help = "\
This works only in a guest; on a host, report --all lists all reasons.

Examples:
  exitprof sweep          the reasons with exits
  exitprof sweep --all    all reasons, and how KVM treats them")]
    Sweep(sweep::Arguments),
    /// Describe the JSON and CSV formats as a JSON Schema
    #[command(after_help = schema_help())]
    Schema,
    /// Let all counters start from zero
    #[command(after_help = "\
This works only on a host, and needs root. It affects all who read the counters.

Examples:
  exitprof reset")]
    Reset(control::Reset),
    /// Switch the recording of exits on or off
    #[command(after_help = "\
This works only on a host, and needs root. While recording is off, nothing is
counted, and the counters stay as they are.

Examples:
  exitprof recording        print whether it is on
  exitprof recording off")]
    Recording(control::Recording),
    /// Write man pages, or completions for a shell
    #[command(after_help = "\
Examples:
  exitprof generate man /usr/local/share/man/man1
  exitprof generate bash /etc/bash_completion.d")]
    Generate(generate::Arguments),
}

/// The versions of the tool, and of all that it reads and writes.
static VERSIONS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\n\
         commit                    {}\n\
         profile in debugfs        versions {} to {}\n\
         protocol of CPUID leaves  versions 1 to {}\n\
         recordings                versions {} to {}\n\
         series                    version {}\n\
         JSON of report and diff   version {}",
        env!("CARGO_PKG_VERSION"),
        env!("EXITPROF_COMMIT"),
        profile::text::OLDEST,
        profile::text::VERSION,
        profile::leaf::VERSION,
        snapshot::OLDEST,
        snapshot::VERSION,
        recording::frame::VERSION,
        render::facts::VERSION,
    )
});

/// What the columns mean, and examples.
fn schema_help() -> String {
    format!(
        "{}\nExamples:\n  exitprof schema >exitprof.schema.json",
        render::schema::text()
    )
}

/// Runs a command.
///
/// # Errors
///
/// If it fails: says why, and what to do.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let mut out = anstream::stdout();
    match arguments.command {
        Command::Report(arguments) => report::run(&arguments, &mut out)?,
        Command::Stat(arguments) => return stat::run(&arguments),
        // Its terminal may be gone.
        Command::Top(arguments) => return top::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Record(arguments) => return record::run(&arguments, &mut out),
        Command::Reset(arguments) => control::reset(&arguments)?,
        Command::Recording(arguments) => control::recording(&arguments, &mut out)?,
        Command::Diff(arguments) => return diff::run(&arguments, &mut out),
        Command::Check(arguments) => return check::run(&arguments, &mut out),
        Command::Plot(arguments) => plot::run(&arguments)?,
        Command::Exporter(arguments) => exporter::run(&arguments)?,
        Command::Sweep(arguments) => sweep::run(&arguments, &mut out)?,
        Command::Schema => schema::run(&mut out)?,
        Command::Generate(arguments) => generate::run(&arguments, Arguments::command())?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
