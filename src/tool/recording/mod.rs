// SPDX-License-Identifier: GPL-2.0

//! Recordings: one snapshot, or a series of them with their times.

pub mod frame;
pub mod part;
pub mod when;

use crate::snapshot::Snapshot;
use anyhow::{Context, Result, ensure};
use frame::{HEAD, Header, MAGIC, MAX_BYTES, VERSION};
use jiff::Timestamp;
use std::{
    fmt,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    time::Duration,
};

/// What a recording is read from.
pub trait Stream: Read + Seek {}

impl<T: Read + Seek> Stream for T {}

/// When a snapshot of a recording was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How long after the first one.
    pub offset: Duration,
    /// The date and time of day, if the recording says.
    pub clock: Option<Timestamp>,
}

/// A recording that is being read. It holds one snapshot at a time in memory.
pub struct Recording {
    contents: Contents,
    moments: Vec<Moment>,
    /// How many bytes at its end belong to no complete snapshot.
    rest: u64,
}

enum Contents {
    /// One snapshot, as JSON or as the module prints it.
    Single(Box<Snapshot>),
    /// Frames, and where each begins.
    Series(Box<dyn Stream>, Vec<(u64, Header)>),
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("moments", &self.moments)
            .field("rest", &self.rest)
            .finish_non_exhaustive()
    }
}

impl Recording {
    /// Looks through a recording: of a series, at the times of its snapshots only. What a writer
    /// that was killed left incomplete at the end is left out: see [`Recording::rest`].
    ///
    /// # Errors
    ///
    /// If `stream` cannot be read, or holds something else.
    pub fn new(mut stream: impl Stream + 'static) -> Result<Recording> {
        let mut start = Vec::new();
        let size = HEAD.len() as u64;
        stream.by_ref().take(size).read_to_end(&mut start)?;
        if !start.starts_with(MAGIC) {
            stream.rewind()?;
            return Recording::single(stream);
        }
        ensure!(
            start == HEAD,
            "the series has version {}, but this exitprof reads only version {VERSION}",
            start.last().unwrap_or(&0)
        );
        let end = stream.seek(SeekFrom::End(0))?;
        let mut stream: Box<dyn Stream> = Box::new(io::BufReader::new(stream));
        let mut frames = frames(&mut stream, size)?;
        // Of the last one, or after a loss of power of several, not all bytes may be there.
        while let Some((at, header)) = frames.last() {
            if header.is_of(&payload(&mut stream, *at, header)?) {
                break;
            }
            frames.pop();
        }
        let complete = frames
            .last()
            .map_or(size, |(at, header)| after(*at, header));
        let first = frames
            .first()
            .context("the series has no complete snapshot")?;
        let first = first.1.time_ns;
        let moment = |(_, header): &(u64, Header)| Moment {
            offset: Duration::from_nanos(header.time_ns.saturating_sub(first)),
            clock: header.clock,
        };
        Ok(Recording {
            moments: frames.iter().map(moment).collect(),
            rest: end - complete,
            contents: Contents::Series(stream, frames),
        })
    }

    fn single(stream: impl Read) -> Result<Recording> {
        let mut bytes = Vec::new();
        let read = stream.take(MAX_BYTES.into()).read_to_end(&mut bytes)?;
        ensure!(read < MAX_BYTES as usize, "too long for a recording");
        let text = String::from_utf8(bytes).context("not a recording")?;
        let snapshot = Snapshot::from_file(&text)?;
        Ok(Recording {
            moments: vec![Moment {
                offset: Duration::ZERO,
                clock: snapshot.clock,
            }],
            rest: 0,
            contents: Contents::Single(Box::new(snapshot)),
        })
    }

    /// Whether it is a series, even if it has one snapshot.
    pub fn is_series(&self) -> bool {
        matches!(self.contents, Contents::Series(..))
    }

    /// When its snapshots were read, in the order of the file; there is at least one.
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// How many bytes at its end belong to no complete snapshot.
    pub fn rest(&self) -> u64 {
        self.rest
    }

    /// The snapshot of the moment with this index.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is damaged.
    pub fn read(&mut self, index: usize) -> Result<Snapshot> {
        match &mut self.contents {
            Contents::Single(snapshot) => Ok((**snapshot).clone()),
            Contents::Series(stream, frames) => {
                let (at, header) = frames.get(index).context("there is no such snapshot")?;
                let read = payload(stream, *at, header);
                let read = read.and_then(|payload| frame::decode(header, &payload));
                read.with_context(|| format!("snapshot {}, at byte {at}, is damaged", index + 1))
            }
        }
    }

    /// All snapshots and their moments, in the order of the file.
    pub fn snapshots(&mut self) -> impl Iterator<Item = Result<(Moment, Snapshot)>> + '_ {
        (0..self.moments.len()).map(|index| Ok((self.moments[index], self.read(index)?)))
    }
}

/// The frames from `at` on, up to a header that is damaged or incomplete.
fn frames(stream: &mut impl Stream, mut at: u64) -> Result<Vec<(u64, Header)>> {
    let mut frames = Vec::new();
    stream.seek(SeekFrom::Start(at))?;
    loop {
        let mut bytes = [0; Header::BYTES];
        match stream.read_exact(&mut bytes) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let Some(header) = Header::decode(&bytes) else {
            break;
        };
        frames.push((at, header));
        at = after(at, &header);
        stream.seek_relative(header.length.into())?;
    }
    Ok(frames)
}

/// Where the frame that begins at `at` ends.
fn after(at: u64, header: &Header) -> u64 {
    at + Header::BYTES as u64 + u64::from(header.length)
}

fn payload(stream: &mut impl Stream, at: u64, header: &Header) -> Result<Vec<u8>> {
    stream.seek(SeekFrom::Start(at + Header::BYTES as u64))?;
    let mut payload = Vec::new();
    stream
        .take(header.length.into())
        .read_to_end(&mut payload)?;
    Ok(payload)
}
