// SPDX-License-Identifier: GPL-2.0

//! Reads recordings, or the parts of them that were asked for.

use super::{restart::FROM_START, tell::tell};
use crate::{
    continuity::REPLACED,
    recording::{
        Moment, Recording,
        part::Part,
        when::{When, find_both},
    },
    snapshot::Snapshot,
    source::file,
};
use anyhow::{Context, Result, bail, ensure};
use jiff::tz::TimeZone;
use std::{ops::RangeInclusive, path::Path};

/// Arguments that choose parts of series.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Times {
    /// Of a series: what was counted until TIME, in all. A TIME is one since the series began
    /// (90s, 1h30m, start), before its end (-5m, end), or a time of day (14:03,
    /// '2026-11-26 14:03:20', with or without a zone)
    #[arg(
        long,
        value_name = "TIME",
        allow_hyphen_values = true,
        conflicts_with = "between",
        help_heading = "Series"
    )]
    at: Vec<When>,
    /// Of a series: what was counted between two times [default: start end]
    #[arg(
        long,
        num_args = 2,
        value_names = ["TIME", "TIME"],
        allow_hyphen_values = true,
        help_heading = "Series"
    )]
    between: Vec<When>,
}

/// A part of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What was counted until then.
    At(When),
    /// What was counted in between.
    Between([When; 2]),
}

impl Times {
    /// The parts, in the order of the command line.
    pub fn parts(&self) -> Vec<Which> {
        let between = self.between.chunks_exact(2);
        let between = between.filter_map(|pair| Some(Which::Between(pair.try_into().ok()?)));
        let at = self.at.iter().copied().map(Which::At);
        at.chain(between).collect()
    }

    /// The part, of a command that shows one.
    ///
    /// # Errors
    ///
    /// If there are several.
    pub fn part(&self) -> Result<Option<Which>> {
        match self.parts().as_slice() {
            [] => Ok(None),
            [part] => Ok(Some(*part)),
            _ => bail!("--at and --between can be given once: exitprof diff compares several"),
        }
    }
}

/// Opens a recording, and says so if its end is incomplete.
///
/// # Errors
///
/// If it cannot be read.
pub fn open(path: &Path) -> Result<Recording> {
    let recording = file::open(path)?;
    if recording.rest() > 0 {
        tell(format_args!(
            "{}: the recording was not ended: its last {} bytes are no complete snapshot, and \
             are left out",
            path.display(),
            recording.rest()
        ));
    }
    Ok(recording)
}

/// Reads a part of a recording, and says what it is. Without `part`, that is all of a series.
///
/// # Errors
///
/// If it cannot be read, or does not include these times.
pub fn read(path: &Path, part: Option<Which>) -> Result<(String, Snapshot)> {
    let mut recording = open(path)?;
    let name = path.display();
    let mut read = || {
        if !recording.is_series() {
            ensure!(
                part.is_none(),
                "it has one snapshot; --at and --between choose from a series, as \
                 exitprof record --interval makes"
            );
            return Ok((name.to_string(), recording.read(0)?));
        }
        let zone = TimeZone::system();
        let moments = recording.moments();
        let seconds = |moments: &[Moment], index: usize| moments[index].offset.as_secs_f64();
        match part {
            Some(Which::At(time)) => {
                let index = time.find(moments, &zone)?;
                let name = format!("{name} at {:.1} s", seconds(moments, index));
                Ok((name, recording.read(index)?))
            }
            Some(Which::Between(times)) => {
                let [a, b] = find_both(times, moments, &zone)?;
                let (from, to) = (seconds(moments, a), seconds(moments, b));
                let name = format!("{name} from {from:.1} s to {to:.1} s");
                Ok((name, between(&mut recording, a, b)?))
            }
            None => {
                let last = moments.len() - 1;
                ensure!(
                    last > 0,
                    "the series has one snapshot, so no interval: --at start shows it"
                );
                Ok((name.to_string(), between(&mut recording, 0, last)?))
            }
        }
    };
    read().with_context(|| name.to_string())
}

/// Opens a series, and finds the snapshots of a part of it.
///
/// # Errors
///
/// If it cannot be read, is no series, or does not include these times.
pub fn replay(path: &Path, part: Option<Which>) -> Result<(Recording, RangeInclusive<usize>)> {
    let recording = open(path)?;
    let find = || {
        ensure!(
            recording.is_series(),
            "it has one snapshot: a series, as exitprof record --interval makes, can be replayed"
        );
        let moments = recording.moments();
        match part {
            None => Ok(0..=moments.len() - 1),
            Some(Which::Between(times)) => {
                let [first, last] = find_both(times, moments, &TimeZone::system())?;
                Ok(first..=last)
            }
            Some(Which::At(_)) => bail!("it is replayed from one time to another: use --between"),
        }
    };
    let range = find().with_context(|| path.display().to_string())?;
    Ok((recording, range))
}

fn between(recording: &mut Recording, first: usize, last: usize) -> Result<Snapshot> {
    let Part { added, replaced } = recording.between(first, last)?;
    if let Some(why) = replaced {
        tell(format_args!("{REPLACED} ({why}): {FROM_START}"));
    }
    Ok(added)
}
