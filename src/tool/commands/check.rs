// SPDX-License-Identifier: GPL-2.0

//! `exitprof check`: whether what is counted is normal.

use super::{
    clock::Clock,
    diff::percent,
    patient::Patient,
    recorded,
    seconds::seconds,
    show::Output,
    tell::{is_broken_pipe, tell},
};
use crate::{
    baseline::{Allowance, Checked, check, course::Course, median},
    comparison::Times,
    continuity::Break,
    recording::Recording,
    render::checked::{self, Facts, Side},
    select::Selection,
    snapshot::Snapshot,
    source::{Choice, Need, Source},
};
use anyhow::{Context, Result, ensure};
use clap::ValueHint;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// The exit status if something is beyond what is normal.
const BEYOND: u8 = 3;

/// A baseline needs so many intervals to tell its noise.
const FEWEST_OF_BASELINE: usize = 30;
/// What is checked needs so many, so that one that is out of line does not decide.
const FEWEST: usize = 5;
/// How many intervals of this host or guest are checked by default.
const LIVE: u32 = 10;

/// Arguments of `exitprof check`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// A series of what is normal, of at least 30 intervals
    baseline: PathBuf,
    /// The series, of at least 5 intervals, or the period to check [default: this host or guest,
    /// for 10 intervals as long as those of BASELINE]
    #[arg(conflicts_with_all = ["source", "debugfs"])]
    now: Option<PathBuf>,
    /// Check this host or guest for SECONDS, or until Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, conflicts_with = "now")]
    time: Option<Duration>,
    /// How many times the baseline's noise is normal
    #[arg(long, value_name = "N", default_value = "5", value_parser = factor, value_hint = ValueHint::Other)]
    noise: f64,
    /// Which change is normal, though it is more than noise
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = percent, value_hint = ValueHint::Other)]
    change: f64,
    /// Exit with status 3 also if a figure is lower than is normal
    #[arg(long)]
    below: bool,
    /// Only this reason, by name or number (repeatable)
    #[arg(long = "reason", value_name = "NAME|NUMBER", value_hint = ValueHint::Other)]
    reasons: Vec<String>,
    /// Only this VM: the process's PID, <pid>-<fd> as in KVM's debugfs, or the name
    /// (repeatable)
    #[arg(long = "vm", short = 'p', value_name = "VM", value_hint = ValueHint::Other)]
    vms: Vec<String>,
    /// Only the first N rows
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    top: Option<usize>,
    #[command(flatten)]
    output: Output,
    /// Show cycles, even if the frequencies of the TSCs are known
    #[arg(long)]
    cycles: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Parses how many times the noise.
fn factor(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    number
        .filter(|n: &f64| n.is_finite() && *n >= 0.0)
        .ok_or("not a number, such as 5".into())
}

/// Prints what is normal, and what is not.
///
/// # Errors
///
/// If a recording cannot be read, or there are too few intervals.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode> {
    let selection = Selection {
        reasons: arguments.reasons.clone(),
        vms: arguments.vms.clone(),
        ..Selection::everything()
    };
    let file = &arguments.baseline;
    let normal = read(file, &selection, None)?;
    ensure!(
        normal.course.len() >= FEWEST_OF_BASELINE,
        "{}: a baseline needs {FEWEST_OF_BASELINE} intervals or more to tell what is normal, but \
         this one has {}: record more by exitprof record --interval",
        file.display(),
        normal.course.len()
    );
    let now = match &arguments.now {
        Some(file) => read(file, &selection, Some(normal.length))?,
        None => watch(arguments, &selection, normal.length)?,
    };
    ensure!(
        now.course.len() >= FEWEST || now.last.period.is_some(),
        "there are {} intervals to check, but it takes {FEWEST} or more, each as long as those of \
         the baseline, {:.3} s",
        now.course.len(),
        normal.length
    );
    let sides = [&normal, &now];
    selection.check(&sides.map(|side| &side.last))?;
    ensure!(
        normal.last.origin == now.last.origin && normal.last.isa == now.last.isa,
        "what is counted is not what the baseline counted: {}",
        Break::Origin
    );
    let has_frequencies = sides.iter().all(|side| side.last.tsc_khz > 0);
    let times = match has_frequencies && !arguments.cycles {
        true => Times::Ns,
        false => Times::Cycles,
    };
    let allowance = Allowance {
        noise: arguments.noise,
        percent: arguments.change,
    };
    let courses = sides.map(|side| &side.course);
    let mut rows = check(
        courses,
        sides.map(|side| times.scale(&side.last)),
        allowance,
    );
    let is_beyond = |row: &Checked| row.is_beyond(arguments.below);
    rows.sort_by_key(|row| !is_beyond(row));
    let beyond: Vec<&str> = (rows.iter().filter(|row| is_beyond(row)))
        .map(Checked::name)
        .collect();
    let [a, b] = sides.map(|side| Side::new(&side.name, &side.last, &side.course));
    let facts = Facts::new(&normal.last, [a, b], times, allowance, beyond.is_empty());
    let top = arguments.top.unwrap_or(usize::MAX).min(rows.len());
    let grid = checked::grid(&rows[..top]);
    let sheet = checked::sheet(&grid, &rows, &facts);
    let mut exporter = arguments.output.format().exporter();
    let printed = exporter.sheet(&sheet, out).and_then(|()| Ok(out.flush()?));
    // Without a reader, the status is what matters.
    printed.or_else(|e| if is_broken_pipe(&e) { Ok(()) } else { Err(e) })?;
    if beyond.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tell(format_args!("not normal: {}", beyond.join(", ")));
    Ok(ExitCode::from(BEYOND))
}

/// What is compared.
struct Intervals {
    name: String,
    course: Course,
    /// The usual length of an interval, in seconds.
    length: f64,
    /// What was read last.
    last: Snapshot,
}

/// Reads the intervals of a series, as long as those of `length` seconds, or as recorded.
fn read(path: &Path, selection: &Selection, length: Option<f64>) -> Result<Intervals> {
    let mut recording = recorded::open(path)?;
    let name = path.display().to_string();
    let length = length.unwrap_or_else(|| usual_length(&recording));
    let mut course = Course::new(selection.clone(), length);
    let is_series = recording.is_series();
    let mut read = || {
        let mut last = None;
        for snapshot in recording.snapshots() {
            let (_, snapshot) = snapshot?;
            if is_series {
                course.go_on(&snapshot)?;
            } else {
                ensure!(
                    snapshot.period.is_some(),
                    "it has one snapshot: exitprof record --interval makes a series"
                );
                course.add(&snapshot)?;
            }
            last = Some(snapshot);
        }
        last.context("it has no snapshot")
    };
    let last = read().with_context(|| name.clone())?;
    Ok(Intervals {
        name,
        course,
        length,
        last,
    })
}

/// The median length of the intervals of a recording, in seconds.
fn usual_length(recording: &Recording) -> f64 {
    let moments = recording.moments().windows(2);
    let lengths = moments.map(|pair| pair[1].offset.saturating_sub(pair[0].offset));
    median(lengths.map(|length| length.as_secs_f64()).collect())
}

/// Reads this host or guest, for intervals of `length` seconds, fewer after Ctrl-C.
fn watch(arguments: &Arguments, selection: &Selection, length: f64) -> Result<Intervals> {
    let mut source = Source::find(&arguments.choice, Need::FromNow)?;
    let mut last = source.read()?;
    let mut course = Course::new(selection.clone(), length);
    course.go_on(&last)?;
    let mut source = Patient::new(source, &last);
    let interval = Duration::try_from_secs_f64(length).context("the baseline's intervals")?;
    let end = arguments.time.map(|time| Instant::now() + time);
    let mut clock = Clock::start()?;
    for nth in 1.. {
        let is_interrupted = clock.is_interrupted(interval, end)?;
        if let Some(now) = source.read() {
            course.go_on(&now)?;
            last = now;
        }
        let is_over = match end {
            Some(end) => end <= Instant::now(),
            None => nth == LIVE,
        };
        if is_interrupted || is_over {
            break;
        }
    }
    Ok(Intervals {
        name: "this machine".into(),
        course,
        length,
        last,
    })
}
