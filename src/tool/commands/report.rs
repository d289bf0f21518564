// SPDX-License-Identifier: GPL-2.0

//! `exitprof report`: what was counted so far, and what it means.

use super::{
    clock::Clock,
    details,
    record::now_or_for,
    recorded::{self, Times},
    seconds::seconds,
    show::Show,
};
use crate::{
    budget::Breakdown,
    continuity::REPLACED,
    rate::Stability,
    render::{
        Format,
        buckets::Histogram,
        budget, facts, parts,
        rows::{self, Words},
        table,
        units::Unit,
        words,
    },
    select::Selection,
    snapshot::Snapshot,
    source::{Choice, Source},
    view::{Row, View},
};
use anyhow::{Context, Result, ensure};
use std::{io::Write, path::PathBuf, time::Duration};

/// The number of intervals of `--rate`.
const INTERVALS: u32 = 10;

/// Arguments of `exitprof report`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Read a recording, or a copy of the file profile in debugfs; - is the standard input
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["source", "debugfs"])]
    input: Option<PathBuf>,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    show: Show,
    /// Show the histogram of each reason, too
    #[arg(long = "histogram")]
    histograms: bool,
    /// Show where the time of vCPUs went: in the guest, in each phase of handling exits, and
    /// off the CPU. The module parameter phases must be Y
    #[arg(long, conflicts_with_all = ["histograms", "rate", "by", "sort", "net", "all", "words", "level"])]
    phases: bool,
    /// Show what is behind the exits of each reason, or of REASON: ports, MSRs, addresses and so
    /// on. With --top N, N reasons and N details of each. The module parameter details must name
    /// them
    #[arg(long, value_name = "REASON", num_args = 0..=1, conflicts_with_all = ["histograms", "rate", "phases", "by", "net", "all", "words"])]
    details: Option<Option<String>>,
    /// Watch for SECONDS, in ten intervals, whether the rate is stable: whether its standard
    /// deviation is at most 10% of the mean
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "input")]
    rate: Option<Duration>,
    /// Report only what is counted in the next SECONDS, or until Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, conflicts_with_all = ["input", "rate"])]
    time: Option<Duration>,
    #[command(flatten)]
    choice: Choice,
}

/// Prints the report.
///
/// # Errors
///
/// If there is nothing to read, or the arguments select something that does not exist.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let Arguments {
        input,
        times,
        show,
        histograms,
        phases,
        details,
        rate,
        time,
        choice,
    } = arguments;
    let has_rate = !matches!(
        show.format(),
        Format::Csv | Format::Openmetrics | Format::Prometheus
    );
    ensure!(
        rate.is_none() || has_rate,
        "this format has no place for the rate: use --format json"
    );
    let part = times.part()?;
    let (mut source, snapshot) = match input {
        Some(path) => (None, recorded::read(path, part)?.1),
        None => {
            ensure!(
                part.is_none(),
                "--at and --between choose from a series: name its file with -i"
            );
            let (source, snapshot) = now_or_for(choice, *time)?;
            (Some(source), snapshot)
        }
    };
    let show = &show.named()?;
    if let Some(reason) = details {
        let mut selection = show.selection.clone();
        selection.reasons.extend(reason.clone());
        return details::print(&snapshot, &selection, show, input.is_some(), out);
    }
    let selection = &show.selection;
    if *phases {
        return print_phases(&snapshot, show, out);
    }
    let perfs = show.perfs(&snapshot);
    ensure!(
        perfs.is_none() || !(*histograms || selection.sort.is_of_histogram()),
        "phases do not tell the shortest and the longest exit, and have no histograms: leave out \
         --as perf, or sort by exits, time or avg"
    );
    let timed = perfs.as_ref().unwrap_or(&snapshot);
    let view = View::new(timed, selection)?;
    view.check_order(selection.sort)?;
    let mut exporter = show.format().exporter();
    let unit = show.unit(&snapshot);
    let grid = rows::grid(&snapshot, &view);
    let facts = facts::Report::new(&snapshot, &view);
    let mut sheet = rows::sheet(&grid, &facts, selection, unit, show.words);
    if show.format().is_for_people() {
        sheet.title = vec![words::head(&snapshot, selection, unit)];
        if show.words == Some(Words::Perf) {
            sheet.title = vec![words::perfs_head(selection)];
        }
        if input.is_some() || show.format() == Format::Markdown {
            sheet.title.extend(words::recorded(&snapshot));
        }
        if show.format() == Format::Markdown {
            // For a report of a bug.
            let commit = env!("EXITPROF_COMMIT");
            let version = env!("CARGO_PKG_VERSION");
            sheet
                .title
                .push(format!("exitprof {version}, commit {commit}"));
        }
        sheet.notes = match show.words {
            Some(Words::Perf) => words::perfs_times(&snapshot, perfs.is_some()),
            None => Vec::new(),
        };
        let untimed = words::untimed(&View::new(&snapshot, selection)?);
        sheet.notes.extend(notes(timed, &view, untimed, show));
        if input.is_none() && rate.is_none() && time.is_none() {
            let hint = "(exitprof report --rate 10 watches whether it is stable)";
            sheet.notes.push(words::label("", hint));
        }
        if input.is_none() && show.format() == Format::Table {
            sheet.notes.extend(words::read(&snapshot));
        }
        exporter.sheet(&sheet, out)?;
        if *histograms {
            for lines in self::histograms(&view, unit)? {
                exporter.say(&[String::new()], out)?;
                exporter.block(&lines, out)?;
            }
        }
        // The rate may take a while.
        out.flush()?;
    }
    let live = source.as_mut().zip(*rate);
    let stability = live.map(|(source, time)| watch(source, selection, &snapshot, time));
    let stability = stability.transpose()?.flatten();
    if let Some(stability) = &stability {
        exporter.say(&[words::stability(stability)], out)?;
    }
    if !show.format().is_for_people() {
        let facts = facts::Report::new(&snapshot, &view).with_rate(stability.clone());
        let mut sheet = rows::sheet(&grid, &facts, selection, unit, show.words);
        sheet.reading = Some((&snapshot, selection));
        exporter.sheet(&sheet, out)?;
    }
    ensure!(
        rate.is_none() || stability.is_some(),
        "too few intervals to tell whether the rate is stable"
    );
    Ok(())
}

/// Prints where the time went.
fn print_phases(snapshot: &Snapshot, show: &Show, out: &mut impl Write) -> Result<()> {
    let (selection, unit) = (&show.selection, show.unit(snapshot));
    let breakdown = Breakdown::new(snapshot, selection)?;
    let grid = budget::grid(snapshot, &breakdown);
    let facts = facts::PhaseReport::new(snapshot, &breakdown, None);
    let mut sheet = budget::sheet(&grid, &facts, snapshot, selection, &breakdown, unit);
    (sheet.title).insert(0, words::time_head(snapshot, selection, unit));
    sheet.notes = budget::notes(&breakdown, unit);
    show.format().exporter().sheet(&sheet, out)
}

/// The histograms of the rows.
fn histograms(view: &View, unit: Unit) -> Result<Vec<Vec<String>>> {
    let rows = view.shown().iter();
    let lines = |row: &Row| Some(Histogram::of(row, unit, table::width())?.lines(&row.name));
    let all: Vec<Vec<String>> = rows.filter_map(lines).collect();
    ensure!(
        !all.is_empty() || view.shown().iter().all(|row| row.exits == 0),
        "there are no histograms: only the reasons of all guests have them, on a host whose \
         module keeps them (module parameter histograms)"
    );
    Ok(all)
}

/// The lines below the table.
fn notes(snapshot: &Snapshot, view: &View, untimed: Option<String>, show: &Show) -> Vec<String> {
    let selection = &show.selection;
    let unit = show.unit(snapshot);
    let mut notes = match snapshot.period {
        Some(_) => words::difference_notes(snapshot),
        None => words::notes(snapshot),
    };
    notes.extend(words::ranking(view, selection, unit));
    notes.extend(untimed);
    notes.push(words::total(view, snapshot, unit));
    notes.extend(parts::notes(view.shown().iter(), snapshot, selection));
    notes.extend(words::account(snapshot, selection));
    notes.push(words::rate(view.selected.exits, snapshot));
    notes.extend(words::by_bpf(snapshot));
    notes
}

/// Measures the rate of the selected exits in intervals, fewer after Ctrl-C; `None` if there
/// are too few.
fn watch(
    source: &mut Source,
    selection: &Selection,
    first: &Snapshot,
    time: Duration,
) -> Result<Option<Stability>> {
    let mut clock = Clock::start()?;
    let mut rates = Vec::new();
    let mut before = source.read()?;
    before.since(first).context(REPLACED)?;
    for _ in 0..INTERVALS {
        if clock.is_interrupted_before(time / INTERVALS)? {
            break;
        }
        let now = source.read()?;
        let delta = now.since(&before).context(REPLACED)?;
        let rate = View::of_part(&delta, selection)?.rate(delta.seconds());
        rates.extend(rate.zip(delta.seconds()));
        before = now;
    }
    Ok(Stability::new(&rates))
}
