// SPDX-License-Identifier: GPL-2.0

//! The frames of a series of snapshots: a compressed snapshot each.
//!
//! The file begins with [`HEAD`]. Each frame has a header of [`Header::BYTES`], in little-endian
//! order:
//!
//! | bytes | what |
//! |-------|------|
//! | 0–3   | the length of what follows the header |
//! | 4–7   | its CRC-32 |
//! | 8–11  | its length once decompressed |
//! | 12–15 | 0 |
//! | 16–23 | when the snapshot was read, in nanoseconds of the reader's CLOCK_MONOTONIC |
//! | 24–31 | when it was read, in milliseconds since 1970, UTC; the lowest number if unknown |
//! | 32–35 | the CRC-32 of bytes 0–31 |
//!
//! What follows is the snapshot as JSON, as `exitprof record` writes a single one, compressed by
//! DEFLATE. Each frame stands alone. So one is found by its time without the others, and a file
//! whose writer was killed lacks its last frame at most.

use crate::snapshot::Snapshot;
use anyhow::{Context, Result, ensure};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use jiff::Timestamp;
use std::io::{Read, Write};

/// How a series begins. The first byte is in no text, and the line ends show whether a program
/// has changed them; the last byte is the version.
pub const HEAD: [u8; 16] = *b"\x89exitprof\r\n\x1a\n\0\0\x01";
/// The version of the format.
pub const VERSION: u8 = HEAD[HEAD.len() - 1];
/// What does not change from version to version.
pub(super) const MAGIC: &[u8] = HEAD.split_at(HEAD.len() - 1).0;
/// The longest snapshot as JSON. A vCPU takes 10 kB of it.
pub(super) const MAX_BYTES: u32 = 1 << 30;

/// What precedes a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the compressed snapshot.
    pub length: u32,
    /// The CRC-32 of the compressed snapshot.
    crc: u32,
    /// The length of the snapshot as JSON.
    text: u32,
    /// When it was read, in nanoseconds of the reader's CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// When it was read: date and time of day.
    pub clock: Option<Timestamp>,
}

impl Header {
    /// The length of a header.
    pub const BYTES: usize = 36;

    fn encode(self) -> [u8; Header::BYTES] {
        let clock = self.clock.map_or(i64::MIN, Timestamp::as_millisecond);
        let mut bytes = [0; Header::BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.text.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[24..32].copy_from_slice(&clock.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes a header; `None` if it is damaged.
    pub(super) fn decode(bytes: &[u8; Header::BYTES]) -> Option<Header> {
        let four = |at| bytes[at..].first_chunk().copied().map(u32::from_le_bytes);
        let eight = |at| bytes[at..].first_chunk().copied();
        (four(32)? == crc32fast::hash(&bytes[..32])).then_some(Header {
            length: four(0)?,
            crc: four(4)?,
            text: four(8)?,
            time_ns: eight(16).map(u64::from_le_bytes)?,
            clock: eight(24)
                .map(i64::from_le_bytes)
                .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        })
    }

    /// Whether `payload` is what the header precedes.
    pub(super) fn is_of(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32fast::hash(payload) == self.crc
    }
}

/// The frame of a snapshot.
///
/// # Errors
///
/// If the snapshot is too long.
pub fn encode(snapshot: &Snapshot) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(snapshot)?;
    let text = u32::try_from(json.len()).ok().filter(|&n| n <= MAX_BYTES);
    let text = text.context("the snapshot is too long to be recorded")?;
    let mut encoder = DeflateEncoder::new(vec![0; Header::BYTES], Compression::default());
    encoder.write_all(&json)?;
    let mut frame = encoder.finish()?;
    let payload = &frame[Header::BYTES..];
    let header = Header {
        length: u32::try_from(payload.len())?,
        crc: crc32fast::hash(payload),
        text,
        time_ns: snapshot.time_ns,
        clock: snapshot.clock,
    };
    frame[..Header::BYTES].copy_from_slice(&header.encode());
    Ok(frame)
}

/// The snapshot in a frame.
///
/// # Errors
///
/// If the frame is damaged, or has something else.
pub(super) fn decode(header: &Header, payload: &[u8]) -> Result<Snapshot> {
    ensure!(header.is_of(payload), "its checksum is wrong");
    ensure!(header.text <= MAX_BYTES, "it is too long");
    let mut json = String::new();
    let decoder = DeflateDecoder::new(payload);
    // A small frame could become anything.
    decoder.take(header.text.into()).read_to_string(&mut json)?;
    Snapshot::from_file(&json)
}
