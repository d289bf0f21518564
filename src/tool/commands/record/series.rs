// SPDX-License-Identifier: GPL-2.0

//! `exitprof record --interval`: a series of snapshots.

use super::output::Output;
use crate::{
    commands::{
        child::{self, Every},
        clock::Clock,
        patient::Patient,
        tell::tell,
    },
    continuity::REPLACED,
    recording::frame::{HEAD, encode},
    render::{units, words},
    snapshot::Snapshot,
    source::Source,
};
use anyhow::{Context, Result, ensure};
use std::{
    ffi::{OsStr, OsString},
    io::{self, IsTerminal},
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// A series that is being recorded.
pub struct Series<'a> {
    source: Patient,
    file: &'a Path,
    output: Output,
    size: u64,
    max_size: u64,
    intervals: u64,
    last: Snapshot,
}

impl<'a> Series<'a> {
    /// Begins a series of at most `max_size` bytes with the snapshot `first`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn begin(
        file: &'a Path,
        max_size: u64,
        source: Source,
        first: Snapshot,
    ) -> Result<Series<'a>> {
        let start = [&HEAD[..], &encode(&first)?].concat();
        let size = start.len() as u64;
        ensure!(
            size <= max_size,
            "one snapshot takes {}, more than --max-size",
            units::bytes(size)
        );
        if words::is_off(&first) {
            tell(words::RECORDING_IS_OFF);
        }
        let output = Output::begin(file, &start);
        Ok(Series {
            source: Patient::new(source, &first),
            file,
            output: output.with_context(|| file.display().to_string())?,
            size,
            max_size,
            intervals: 0,
            last: first,
        })
    }

    /// Records `count` intervals, or what time allows, fewer after Ctrl-C. Ctrl-C also ends the
    /// interval that it interrupts.
    ///
    /// # Errors
    ///
    /// If the series cannot be written, or would be too large.
    pub fn run(
        mut self,
        interval: Duration,
        count: Option<u32>,
        time: Option<Duration>,
    ) -> Result<ExitCode> {
        let mut clock = Clock::start()?;
        let end = time.map(|time| Instant::now() + time);
        for _ in 0..count.unwrap_or(u32::MAX) {
            let is_interrupted = clock.is_interrupted(interval, end)?;
            self.add()?;
            if is_interrupted || end.is_some_and(|end| end <= Instant::now()) {
                break;
            }
        }
        self.end()?;
        Ok(ExitCode::SUCCESS)
    }

    /// Records intervals while a command runs, and returns its exit status.
    ///
    /// # Errors
    ///
    /// If the command succeeds, but the series cannot be written, or would be too large.
    pub fn while_runs(
        mut self,
        program: &OsStr,
        arguments: &[OsString],
        interval: Duration,
    ) -> Result<ExitCode> {
        let mut written = Ok(());
        let mut add = || {
            // The command goes on, even if its series does not.
            if written.is_ok() {
                written = self.add();
            }
        };
        let every = Every {
            interval,
            what: &mut add,
        };
        let status = match child::run(program, arguments, Some(every))? {
            Ok(status) => status,
            Err(code) => return Ok(code),
        };
        add();
        child::ended(status, written.and_then(|()| self.end()))
    }

    /// Adds a snapshot, if the counters can be read.
    fn add(&mut self) -> Result<()> {
        let Some(now) = self.source.read() else {
            return Ok(());
        };
        if let Err(why) = now.check_same_count(&self.last) {
            tell(format_args!(
                "{REPLACED} ({why}): the series goes on with the new ones"
            ));
        }
        let frame = encode(&now)?;
        let size = self.size + frame.len() as u64;
        let file = self.file.display();
        let recorded = units::counted(self.intervals, "interval", "intervals");
        ensure!(
            size <= self.max_size,
            "{file}: recording ended after {recorded}, which take {}: --max-size allows no more",
            units::bytes(self.size)
        );
        let written = self.output.append(&frame);
        written.with_context(|| file.to_string())?;
        self.size = size;
        self.intervals += 1;
        self.last = now;
        Ok(())
    }

    /// Ends the series, and tells people what was recorded.
    fn end(&mut self) -> Result<()> {
        let file = self.file.display();
        self.output.sync().with_context(|| file.to_string())?;
        if io::stderr().is_terminal() {
            let intervals = units::counted(self.intervals, "interval", "intervals");
            tell(format_args!(
                "{file}: {intervals}, {}",
                units::bytes(self.size)
            ));
        }
        Ok(())
    }
}
