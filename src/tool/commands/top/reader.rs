// SPDX-License-Identifier: GPL-2.0

//! Where `exitprof top` reads: a source, again and again, or a series from one snapshot to the
//! next.

use crate::{
    commands::recorded::{self, Times},
    recording::Recording,
    snapshot::Snapshot,
    source::{Choice, Kind, Need, Source},
};
use anyhow::{Context, Result, ensure};
use std::{ops::RangeInclusive, path::Path};

pub enum Reader {
    /// A source, and how to find it again.
    Live(Source, Choice),
    /// A series, and its snapshots that are still to be read.
    Replay(Recording, RangeInclusive<usize>),
}

impl Reader {
    /// Finds a part of the series `input`, or else the source that `choice` asks for.
    ///
    /// # Errors
    ///
    /// If there is nothing to read.
    pub fn find(input: Option<&Path>, times: &Times, choice: &Choice) -> Result<Reader> {
        let part = times.part()?;
        if let Some(path) = input {
            let (recording, range) = recorded::replay(path, part)?;
            return Ok(Reader::Replay(recording, range));
        }
        ensure!(
            part.is_none(),
            "--at and --between choose from a series: name its file with -i"
        );
        let source = Source::find(choice, Need::FromNow)?;
        let same = Choice {
            source: Some(match source {
                Source::Guest(_) => Kind::Guest,
                Source::Bpf(_) => Kind::Bpf,
                Source::Host(_) => Kind::Host,
            }),
            ..choice.clone()
        };
        Ok(Reader::Live(source, same))
    }

    /// How many snapshots are still to be read; `None` if there is no end.
    pub fn left(&self) -> Option<u32> {
        match self {
            Reader::Live(..) => None,
            Reader::Replay(_, range) => Some(range.clone().count().try_into().unwrap_or(u32::MAX)),
        }
    }

    /// Reads the counters, or the next snapshot. If reading fails, looks for the source again:
    /// debugfs may be mounted elsewhere when the module comes back.
    ///
    /// # Errors
    ///
    /// If there is nothing to read.
    pub fn read(&mut self) -> Result<Snapshot> {
        match self {
            Reader::Live(source, same) => source.read().or_else(|e| {
                *source = Source::find(same, Need::FromNow).map_err(|_| e)?;
                source.read()
            }),
            Reader::Replay(recording, range) => {
                recording.read(range.next().context("the series ends here")?)
            }
        }
    }
}
