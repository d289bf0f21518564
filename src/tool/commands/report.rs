// SPDX-License-Identifier: GPL-2.0

//! `exitprof report`: what was counted so far, and what it means.

use super::{clock::Clock, seconds::seconds, show::Show};
use crate::{
    continuity::REPLACED,
    rate::Stability,
    render::{Format, csv, document::Document, json, table, words},
    select::Selection,
    snapshot::Snapshot,
    source::{Choice, Source},
    view::View,
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
    show: Show,
    /// Watch for SECONDS, in ten intervals, whether the rate is stable: whether its standard
    /// deviation is at most 10% of the mean
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "input")]
    rate: Option<Duration>,
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
        show,
        rate,
        choice,
    } = arguments;
    ensure!(
        rate.is_none() || show.format != Format::Csv,
        "CSV has no column for the rate: use --format json"
    );
    let mut source = match input {
        Some(path) => Source::File(path.clone()),
        None => Source::find(choice)?,
    };
    let snapshot = source.read()?;
    let selection = &show.selection;
    let view = View::new(&snapshot, selection)?;
    view.check_order(selection.sort)?;
    if show.format == Format::Table {
        print(&snapshot, &view, show, out)?;
        out.flush()?;
    }
    let stability = rate.map(|time| watch(&mut source, selection, &snapshot, time));
    let stability = stability.transpose()?.flatten();
    let document = |rate| Document::new(&snapshot, &view, rate);
    match show.format {
        Format::Table => match &stability {
            Some(stability) => writeln!(out, "{}", words::stability(stability))?,
            None if input.is_none() && rate.is_none() => {
                let hint = "(exitprof report --rate 10 watches whether it is stable)";
                writeln!(out, "{}", words::label("", hint))?
            }
            None => (),
        },
        Format::Json => json::write(&document(stability.as_ref()), out)?,
        Format::Csv => csv::write(&document(None), out)?,
    }
    ensure!(
        rate.is_none() || stability.is_some(),
        "too few intervals to tell whether the rate is stable"
    );
    Ok(())
}

fn print(snapshot: &Snapshot, view: &View, show: &Show, out: &mut impl Write) -> Result<()> {
    let selection = &show.selection;
    let unit = show.unit(snapshot);
    writeln!(out, "{}\n", words::head(snapshot, selection, unit))?;
    table::view(view, selection, unit, table::width(), out)?;
    writeln!(out)?;
    let ranking = words::ranking(view, selection, unit);
    let account = words::account(snapshot, selection);
    let total = words::total(view, snapshot, unit);
    let rate = words::rate(view.selected.exits, snapshot);
    let notes = words::notes(snapshot);
    let lines = notes
        .into_iter()
        .chain(ranking)
        .chain(words::untimed(view))
        .chain([total])
        .chain(account);
    for line in lines.chain([rate]) {
        writeln!(out, "{line}")?;
    }
    Ok(())
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
        let rate = View::new(&delta, selection)?.rate(delta.seconds());
        rates.extend(rate.zip(delta.seconds()));
        before = now;
    }
    Ok(Stability::new(&rates))
}
