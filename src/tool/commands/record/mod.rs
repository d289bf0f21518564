// SPDX-License-Identifier: GPL-2.0

//! `exitprof record`: saves what was counted so far or in a period, or a series of snapshots.

pub(super) mod output;
mod series;

use super::{child, clock::Clock, restart::difference, seconds::seconds};
use crate::{
    snapshot::{Period, Snapshot},
    source::{Choice, Need, Source},
};
use anyhow::{Context, Result};
use clap::ValueHint;
use output::{check, replace};
use series::Series;
use std::{
    ffi::OsString,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Arguments of `exitprof record`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Output file; - is the standard output
    file: PathBuf,
    /// Record only what is counted in the next SECONDS, or until Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    time: Option<Duration>,
    /// Record a series: a snapshot now and every SECONDS, until Ctrl-C, or as --count, --for or
    /// COMMAND say
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    interval: Option<Duration>,
    /// Stop after N intervals
    #[arg(
        long,
        value_name = "N",
        requires = "interval",
        conflicts_with_all = ["time", "command"],
        value_parser = clap::value_parser!(u32).range(1..),
        value_hint = ValueHint::Other
    )]
    count: Option<u32>,
    /// Stop a series with an error before its file is larger than SIZE: a number of bytes, or
    /// one of KiB, MiB or GiB, such as 500M
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1G",
        requires = "interval",
        value_parser = size,
        value_hint = ValueHint::Other
    )]
    max_size: u64,
    /// Record only what is counted while COMMAND runs, and exit with its status
    #[arg(last = true, conflicts_with = "time")]
    command: Vec<OsString>,
    #[command(flatten)]
    choice: Choice,
}

/// Parses a size in bytes.
fn size(text: &str) -> Result<u64, String> {
    let shift = match text.chars().last() {
        Some('K' | 'k') => 10,
        Some('M' | 'm') => 20,
        Some('G' | 'g') => 30,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(shift > 0)];
    let number = digits.parse().ok().filter(|&number: &u64| number > 0);
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or("not a size, such as 500M".into())
}

/// Saves a snapshot, what is counted in a period, or a series. A file with one name is replaced
/// as a whole, or stays as it was; after that, a series grows.
///
/// # Errors
///
/// If there is nothing to read, or the file cannot be written.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode> {
    let Arguments { file, command, .. } = arguments;
    let is_period = arguments.time.is_some() || arguments.interval.is_some() || !command.is_empty();
    let need = match is_period {
        true => Need::FromNow,
        false => Need::SoFar,
    };
    let mut source = Source::find(&arguments.choice, need)?;
    let first = source.read()?;
    if is_period {
        check(file).with_context(|| file.display().to_string())?;
    }
    if let Some(interval) = arguments.interval {
        let series = Series::begin(file, arguments.max_size, source, first)?;
        return match command.as_slice() {
            [program, rest @ ..] => series.while_runs(program, rest, interval),
            [] => series.run(interval, arguments.count, arguments.time),
        };
    }
    if let [program, rest @ ..] = command.as_slice() {
        let status = match child::run(program, rest, None)? {
            Ok(status) => status,
            Err(code) => return Ok(code),
        };
        let words = command.iter().map(|word| word.to_string_lossy());
        let command = Some(words.collect::<Vec<_>>().join(" "));
        let written = period(&mut source, &first, command).and_then(|s| save(&s, file, out));
        return child::ended(status, written);
    }
    let snapshot = match arguments.time {
        None => first,
        Some(time) => wait(&mut source, &first, time)?,
    };
    save(&snapshot, file, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads what was counted so far, or what is counted in `time` from now, or until Ctrl-C.
///
/// # Errors
///
/// If there is nothing to read, or it is not known what was counted.
pub fn now_or_for(choice: &Choice, time: Option<Duration>) -> Result<(Source, Snapshot)> {
    let need = match time {
        Some(_) => Need::FromNow,
        None => Need::SoFar,
    };
    let mut source = Source::find(choice, need)?;
    let first = source.read()?;
    let snapshot = match time {
        Some(time) => wait(&mut source, &first, time)?,
        None => first,
    };
    Ok((source, snapshot))
}

/// What is counted after `first` in so much time, or until Ctrl-C.
fn wait(source: &mut Source, first: &Snapshot, time: Duration) -> Result<Snapshot> {
    Clock::start()?.wait(Some(Instant::now() + time))?;
    period(source, first, None)
}

/// What was counted since `first`.
fn period(source: &mut Source, first: &Snapshot, command: Option<String>) -> Result<Snapshot> {
    Ok(Snapshot {
        period: Some(Period { command }),
        ..difference(&source.read()?, first)?
    })
}

fn save(snapshot: &Snapshot, file: &Path, out: &mut impl Write) -> Result<()> {
    let mut text = serde_json::to_string(snapshot)?;
    text.push('\n');
    if file == Path::new("-") {
        out.write_all(text.as_bytes())?;
        return Ok(out.flush()?);
    }
    replace(file, text.as_bytes())
        .map(drop)
        .with_context(|| file.display().to_string())
}
