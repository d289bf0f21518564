// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat`: what is counted in intervals, or while a command runs.

mod command;
mod intervals;
mod lines;
mod phase_lines;
mod printer;
mod repeat;

use super::{clock::Clock, patient::Patient, restart, seconds::seconds, show::Show, tell::tell};
use crate::{
    budget,
    render::{Format, words},
    select::Sort,
    snapshot::Snapshot,
    source::{Choice, Need, Source},
    view::View,
};
use anyhow::{Context, Result, ensure};
use clap::ValueHint;
pub use lines::Lines;
use phase_lines::PhaseLines;
use printer::{Printer, Tables};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

/// Arguments of `exitprof stat`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Show what each interval of INTERVAL seconds counted [default: one interval until
    /// Ctrl-C]
    #[arg(value_parser = interval)]
    interval: Option<Duration>,
    /// Stop after COUNT intervals
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Run COMMAND, show what was counted meanwhile, and exit with its status
    #[arg(last = true, conflicts_with = "interval")]
    command: Vec<OsString>,
    #[command(flatten)]
    show: Show,
    /// Show what each interval of MILLISECONDS counted, as perf stat does
    #[arg(
        short = 'I',
        long,
        value_name = "MILLISECONDS",
        value_parser = milliseconds,
        conflicts_with_all = ["interval", "command"]
    )]
    interval_print: Option<Duration>,
    /// Show one line for each interval [default interval: 1]
    #[arg(long, conflicts_with_all = ["command", "by"])]
    line: bool,
    /// Show where the time of vCPUs went, as report --phases does. With --line, the columns are
    /// shares of the time of all vCPUs. The module parameter phases must be Y
    #[arg(long, conflicts_with_all = ["by", "sort", "net", "all", "words", "level"])]
    phases: bool,
    /// Run COMMAND N times, and show means and standard deviations
    #[arg(
        long,
        short,
        value_name = "N",
        requires = "command",
        conflicts_with_all = ["words", "phases"],
        value_parser = clap::value_parser!(u32).range(1..),
        value_hint = ValueHint::Other
    )]
    repeat: Option<u32>,
    /// Output file [default: the standard output, or with COMMAND the standard error]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Append to the output file
    #[arg(long, requires = "output")]
    append: bool,
    #[command(flatten)]
    choice: Choice,
}

fn interval(text: &str) -> Result<Duration, String> {
    seconds(text).map_err(|e| format!("{e}; to run a command: exitprof stat -- {text}"))
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    let number = number.ok_or("not a number of milliseconds")?;
    Ok(Duration::from_millis(number.into()))
}

/// Prints what is counted from now on.
///
/// # Errors
///
/// If there is nothing to read, or the output cannot be written.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Arguments {
        interval,
        interval_print,
        count,
        line,
        phases,
        repeat,
        command,
        show,
        output,
        append,
        choice,
    } = arguments;
    let default = line.then_some(Duration::from_secs(1));
    let interval = interval.or(*interval_print).or(default);
    let is_of_one_period = interval.is_none() && repeat.is_none();
    ensure!(
        is_of_one_period || ![Format::Openmetrics, Format::Prometheus].contains(&show.format()),
        "OpenMetrics and Prometheus have one reading: leave out the interval, --line and -r"
    );
    let show = &show.named()?;
    let mut source = Source::find(choice, Need::FromNow)?;
    let first = source.read()?;
    let sort = show.selection.sort;
    View::new(&first, &show.selection)?.check_order(sort)?;
    ensure!(
        repeat.is_none() || [Sort::Exits, Sort::Time, Sort::Avg, Sort::Reason].contains(&sort),
        "there is no such column with -r: sort by exits, time, avg or reason"
    );
    if *phases {
        budget::check(&first)?;
        ensure!(
            !line || show.selection.reasons.is_empty(),
            "the phases of single reasons have no lines: leave out --line or --reason"
        );
    }
    let tables = match (line, phases) {
        (false, false) => Tables::Exits,
        (true, false) => Tables::Lines(Lines::new(&show.selection, &first)?),
        (false, true) => Tables::Phases,
        (true, true) => Tables::PhaseLines(PhaseLines::default()),
    };
    let mut continues = false;
    // Only now, so that a mistake above leaves the file as it was.
    let out: Box<dyn Write> = match output {
        Some(path) => {
            let mut options = File::options();
            options.create(true).write(true);
            options.append(*append).truncate(!append);
            let file = options.open(path).and_then(|file| {
                continues = file.metadata()?.len() > 0;
                Ok(file)
            });
            let file = file.with_context(|| path.display().to_string())?;
            Box::new(anstream::AutoStream::never(file))
        }
        None if command.is_empty() => Box::new(anstream::stdout()),
        None => Box::new(anstream::stderr()),
    };
    if words::is_off(&first) {
        tell(words::RECORDING_IS_OFF);
    }
    let mut printer = Printer::new(show, out, continues, tables);
    match (command.as_slice(), interval) {
        ([program, arguments @ ..], _) if repeat.is_some() => {
            let times = repeat.unwrap_or(1);
            let selection = &show.selection;
            return repeat::run(
                program,
                arguments,
                times,
                selection,
                &mut source,
                &mut printer,
            );
        }
        ([program, arguments @ ..], _) => {
            return command::run(program, arguments, &mut source, &first, &mut printer);
        }
        ([], Some(interval)) => {
            let count = count.unwrap_or(u32::MAX);
            let source = Patient::new(source, &first);
            intervals::run(interval, count, source, first, &mut printer)?;
        }
        ([], None) => until_interrupt(&mut source, &first, &mut printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn until_interrupt(source: &mut Source, first: &Snapshot, printer: &mut Printer<'_>) -> Result<()> {
    printer.begin()?;
    let mut clock = Clock::start()?;
    if io::stderr().is_terminal() {
        tell("counting until Ctrl-C");
    }
    clock.wait(None)?;
    let delta = restart::difference(&source.read()?, first)?;
    printer.print(&delta, "until Ctrl-C", delta.seconds())?;
    printer.sum_up(&delta, &[])
}
