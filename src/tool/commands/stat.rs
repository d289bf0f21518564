// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat`: what is counted in intervals, or while a command runs.

use super::{interrupt::Interrupt, seconds::seconds, show::Show};
use crate::{
    rate::Stability,
    render::{Format, output, table, units::duration, words},
    snapshot::{Origin, Snapshot},
    source::{Choice, Source},
    view::View,
};
use anstream::eprintln;
use anyhow::{Context, Result, bail};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, ErrorKind, IsTerminal, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    time::{Duration, Instant},
};

/// What `exitprof stat` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Show what each interval of so many seconds counted; without it, what is counted
    /// until Ctrl-C
    #[arg(value_parser = interval)]
    interval: Option<Duration>,
    /// End after so many intervals
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// Show what is counted while this runs; then end with its exit status
    #[arg(last = true, conflicts_with = "interval")]
    command: Vec<OsString>,
    #[command(flatten)]
    show: Show,
    /// Print into FILE; otherwise to the standard output, or if a COMMAND is run, to the
    /// standard error
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
}

fn interval(text: &str) -> Result<Duration, String> {
    seconds(text).map_err(|e| format!("{e}; to run a command: exitprof stat -- {text}"))
}

/// Where figures go, and how.
struct Printer<'a> {
    show: &'a Show,
    out: Box<dyn Write>,
}

impl Printer<'_> {
    /// Prints what was counted in a time that ended after `time`.
    fn print(&mut self, delta: &Snapshot, what: &str, time: Option<f64>) -> Result<View> {
        let selection = &self.show.selection;
        let view = View::new(delta, selection)?;
        match self.show.format {
            Format::Table => {
                let unit = self.show.unit(delta);
                let whose = words::head(delta, selection, unit);
                let width = table::width();
                writeln!(self.out, "{whose}\n{what}\n")?;
                table::view(&view, selection, unit, width, &mut self.out)?;
                writeln!(self.out)?;
            }
            Format::Json => output::json(delta, &view, None, &mut self.out)?,
            Format::Csv => output::csv(&view, time, &mut self.out)?,
        }
        self.out.flush()?;
        Ok(view)
    }

    /// Prints what the table of an interval does not say.
    fn note(&mut self, view: &View) -> Result<()> {
        if let Some(words) = words::untimed(view).filter(|_| self.show.format == Format::Table) {
            writeln!(self.out, "{words}\n")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Prints what all of it comes to.
    fn sum_up(&mut self, delta: &Snapshot, rates: &[f64]) -> Result<()> {
        if self.show.format != Format::Table {
            return Ok(());
        }
        let view = View::new(delta, &self.show.selection)?;
        let unit = self.show.unit(delta);
        let ranking = words::ranking(&view, &self.show.selection, unit);
        let total = words::total(view.total, delta, unit);
        let rate = words::rate(view.total.exits, delta);
        let notes = words::difference_notes(delta).into_iter();
        let lines = notes.chain(ranking).chain(words::untimed(&view));
        for line in lines.chain([total, rate]) {
            writeln!(self.out, "{line}")?;
        }
        if let Some(stability) = Stability::new(rates) {
            writeln!(self.out, "{}", words::stability(&stability))?;
        }
        self.out.flush()?;
        Ok(())
    }
}

/// Prints what is counted from now on.
///
/// # Errors
///
/// If there is nothing to read, or the command cannot be run.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let with_command = !arguments.command.is_empty();
    let mut source = Source::find(&arguments.choice)?;
    let first = source.read()?;
    let selection = &arguments.show.selection;
    View::new(&first, selection)?.check_order(selection.sort)?;
    // Only now, so that a mistake above leaves a file as it was.
    let out: Box<dyn Write> = match &arguments.output {
        Some(path) => {
            let file = File::create(path).with_context(|| path.display().to_string())?;
            Box::new(anstream::AutoStream::never(file))
        }
        None if with_command => Box::new(anstream::stderr()),
        None => Box::new(anstream::stdout()),
    };
    let mut printer = Printer {
        show: &arguments.show,
        out,
    };
    if with_command {
        return command(&arguments.command, &mut source, &first, &mut printer);
    }
    if printer.show.format == Format::Csv {
        output::csv_head(true, &mut printer.out)?;
    }
    let interrupt = Interrupt::listen()?;
    match arguments.interval {
        Some(interval) => {
            let count = arguments.count.unwrap_or(u32::MAX);
            intervals(
                interval,
                count,
                &interrupt,
                &mut source,
                first,
                &mut printer,
            )?;
        }
        None => {
            if io::stderr().is_terminal() {
                eprintln!("exitprof: counting until Ctrl-C");
            }
            interrupt.wait();
            let delta = difference(&source.read()?, &first)?;
            let seconds = delta.seconds();
            printer.print(&delta, &lasted(&delta, "until Ctrl-C"), seconds)?;
            printer.sum_up(&delta, &[])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

const OTHERS: &str = "these are other counters than before";
const FROM_START: &str = "what follows was counted since their start";

/// What was counted since `before`; if the counters are others, since these started, if
/// that was later, which it says.
///
/// # Errors
///
/// If it is not known what was counted.
fn difference(now: &Snapshot, before: &Snapshot) -> Result<Snapshot> {
    let why = match now.since(before) {
        Ok(added) => return Ok(added),
        Err(why) => why,
    };
    let start = started_after(now, before).with_context(|| {
        format!("{OTHERS}, as {why}: it is not known what was counted in between")
    })?;
    eprintln!("exitprof: {OTHERS}, as {why}: {FROM_START}");
    Ok(now.since(&start)?)
}

/// The start of the counters that `now` has, if it is known that it was after `before`.
fn started_after(now: &Snapshot, before: &Snapshot) -> Option<Snapshot> {
    let is_host = [now, before].iter().all(|s| s.origin == Origin::Host);
    let start = now
        .since_ns
        .filter(|&since| is_host && since >= before.time_ns)?;
    Some(Snapshot {
        time_ns: start,
        counters: Vec::new(),
        ..now.clone()
    })
}

/// How long `delta` lasted, and what that time is.
fn lasted(delta: &Snapshot, what: &str) -> String {
    let Some(seconds) = delta.seconds() else {
        return what.into();
    };
    format!("{}, {what}", duration(seconds))
}

fn intervals(
    interval: Duration,
    count: u32,
    interrupt: &Interrupt,
    source: &mut Source,
    first: Snapshot,
    printer: &mut Printer<'_>,
) -> Result<()> {
    let begin = Instant::now();
    let mut end = begin;
    // From where on all is counted together, and from where on the next interval.
    let (mut first, mut before) = (first.clone(), first);
    let started = before.time_ns;
    let mut rates = Vec::new();
    let mut lost = false;
    for nth in 1..=count {
        end += interval;
        if interrupt.before(end) {
            break;
        }
        let now = match source.read() {
            Ok(now) => now,
            // The module may be loaded again.
            Err(e) => {
                if !lost {
                    eprintln!("exitprof: {e:#}: waiting for it to come back");
                }
                lost = true;
                continue;
            }
        };
        lost = false;
        let delta = match now.since(&before) {
            Ok(added) => added,
            Err(why) => {
                // What was before is of another count: rates and totals begin anew.
                rates.clear();
                let Some(start) = started_after(&now, &before) else {
                    eprintln!("exitprof: {OTHERS}, as {why}: counting begins anew");
                    (first, before) = (now.clone(), now);
                    continue;
                };
                eprintln!("exitprof: {OTHERS}, as {why}: {FROM_START}");
                first = start;
                now.since(&first)?
            }
        };
        // The host's clock goes on from one loading of the module to the next.
        let time = now.time_ns.saturating_sub(started) as f64 / 1e9;
        let what = lasted(&delta, &format!("interval {nth}, ending after {time:.3} s"));
        let view = printer.print(&delta, &what, Some(time))?;
        printer.note(&view)?;
        let exits: u128 = view.rows.iter().map(|row| row.samples).sum();
        rates.extend(delta.seconds().map(|seconds| exits as f64 / seconds));
        before = now;
    }
    let all = before.since(&first)?;
    printer.sum_up(&all, &rates)
}

/// Runs a command, and ends as it does.
fn command(
    command: &[OsString],
    source: &mut Source,
    first: &Snapshot,
    printer: &mut Printer<'_>,
) -> Result<ExitCode> {
    let [program, arguments @ ..] = command else {
        bail!("no command");
    };
    let name = Path::new(program);
    // Ctrl-C is for the command.
    let _interrupt = Interrupt::listen()?;
    let status = match Command::new(program).args(arguments).status() {
        Ok(status) => status,
        Err(e) => {
            eprintln!("exitprof: {}: {e}", name.display());
            let not_found = e.kind() == ErrorKind::NotFound;
            return Ok(ExitCode::from(if not_found { 127 } else { 126 }));
        }
    };
    match source.read().and_then(|now| difference(&now, first)) {
        Ok(delta) => {
            if printer.show.format == Format::Csv {
                output::csv_head(true, &mut printer.out)?;
            }
            let what = lasted(&delta, &format!("while {} ran", name.display()));
            printer.print(&delta, &what, delta.seconds())?;
            printer.sum_up(&delta, &[])?;
        }
        // That is no fault of the command's.
        Err(e) => eprintln!("exitprof: {e:#}"),
    }
    Ok(exit_code(status))
}

/// A command's exit status, or as shells show it, 128 and the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    };
    ExitCode::from(code as u8) // As wait() does.
}
