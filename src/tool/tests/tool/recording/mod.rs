// SPDX-License-Identifier: GPL-2.0

//! Series of snapshots in a file.

mod parts;
mod times;
mod writing;

use crate::{
    growing::Growing,
    host::{PROFILE, exitprof, output},
};
use exitprof::{
    recording::{
        Recording,
        frame::{HEAD, Header, encode},
    },
    snapshot::Snapshot,
};
use std::{io::Cursor, time::Duration};

/// A snapshot that was read by the clock, too.
fn snapshot(growing: Growing) -> Snapshot {
    let snapshot = Snapshot::from_text(&growing.profile()).unwrap();
    let began: jiff::Timestamp = "2026-11-26T09:00:00Z".parse().unwrap();
    let ns = i64::try_from(snapshot.time_ns).unwrap();
    Snapshot {
        clock: Some(began + jiff::SignedDuration::from_nanos(ns)),
        ..snapshot
    }
}

/// A file with these snapshots.
pub fn series(snapshots: impl IntoIterator<Item = Growing>) -> Vec<u8> {
    let frames = snapshots.into_iter().map(|s| encode(&snapshot(s)).unwrap());
    [HEAD.to_vec()]
        .into_iter()
        .chain(frames)
        .flatten()
        .collect()
}

/// Snapshots at these seconds.
fn at(seconds: &[u64]) -> impl Iterator<Item = Growing> {
    seconds.iter().map(|&seconds| Growing::new().later(seconds))
}

fn open(bytes: impl Into<Vec<u8>>) -> anyhow::Result<Recording> {
    Recording::new(Cursor::new(bytes.into()))
}

#[test]
fn what_was_written_is_read_in_order_or_by_index() {
    let seconds = [0, 1, 2, 60];
    let mut recording = open(series(at(&seconds))).unwrap();
    assert!(recording.is_series());
    assert_eq!(recording.rest(), 0);
    let offsets: Vec<_> = (recording.moments().iter())
        .map(|moment| moment.offset)
        .collect();
    assert_eq!(offsets, seconds.map(Duration::from_secs));
    let want: Vec<_> = at(&seconds).map(snapshot).collect();
    let read: Vec<_> = recording.snapshots().map(Result::unwrap).collect();
    for ((moment, read), want) in read.iter().zip(&want) {
        assert_eq!((moment.clock, read), (want.clock, want));
    }
    assert_eq!(read.len(), want.len());
    assert_eq!(recording.read(2).unwrap(), want[2]);
    assert_eq!(recording.read(0).unwrap(), want[0]);
    assert!(recording.read(4).is_err());
}

#[test]
fn a_single_snapshot_is_a_recording_too() {
    let json = serde_json::to_string(&snapshot(Growing::new())).unwrap();
    for (text, clock) in [(json, true), (PROFILE.to_string(), false)] {
        let mut recording = open(text).unwrap();
        assert!(!recording.is_series());
        assert_eq!(recording.moments().len(), 1);
        assert_eq!(recording.moments()[0].clock.is_some(), clock);
        assert_eq!(recording.snapshots().count(), 1);
    }
}

/// Wherever its writer was killed, all but the last snapshot is there.
#[test]
fn a_series_is_read_up_to_the_last_complete_snapshot() {
    let lengths = [1, 2, 3].map(|n| series(at(&[0, 1, 2][..n])).len());
    let whole = series(at(&[0, 1, 2]));
    for length in 0..=whole.len() {
        let complete = lengths.iter().filter(|&&n| n <= length).count();
        let read = open(&whole[..length]);
        let Some(&end) = lengths[..complete].last() else {
            assert!(read.is_err(), "{length}");
            continue;
        };
        let mut recording = read.unwrap();
        assert_eq!(recording.rest(), (length - end) as u64);
        let read: Vec<_> = recording.snapshots().map(|s| s.unwrap().1).collect();
        let want: Vec<_> = at(&[0, 1, 2][..complete]).map(snapshot).collect();
        assert_eq!(read, want);
        // The file system may have made room for more than was written.
        let mut zeros = whole[..length].to_vec();
        zeros.resize(whole.len() + 1000, 0);
        let is_whole = |&&n: &&usize| zeros[..n] == whole[..n];
        let complete = lengths.iter().filter(is_whole).count();
        let recording = open(zeros).unwrap();
        assert_eq!(recording.moments().len(), complete, "{length}");
    }
}

#[test]
fn damage_is_told() {
    let first = series(at(&[0])).len();
    for (at_byte, says) in [
        // The payload of the first snapshot, and of the last one.
        (first - 1, "snapshot 1, at byte 16, is damaged"),
        (0, "not a recording"),
        (
            HEAD.len() - 1,
            "version 254, but this exitprof reads only version 1",
        ),
    ] {
        let mut bytes = series(at(&[0, 1]));
        bytes[at_byte] = !bytes[at_byte];
        let read = open(bytes).and_then(|mut recording| {
            assert_eq!(recording.moments().len(), 2);
            recording.read(0)
        });
        let said = format!("{:#}", read.unwrap_err());
        assert!(said.contains(says), "{at_byte}: {said}");
    }
    // What follows a damaged header cannot be found.
    let mut bytes = series(at(&[0, 1, 2]));
    bytes[first] ^= 1;
    let recording = open(bytes.clone()).unwrap();
    assert_eq!(recording.moments().len(), 1);
    assert_eq!(recording.rest(), (bytes.len() - first) as u64);
}

/// No damage makes another snapshot.
#[test]
fn every_byte_is_checked() {
    let whole = series(at(&[0, 1]));
    let want: Vec<_> = at(&[0, 1]).map(snapshot).collect();
    for at_byte in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at_byte] ^= 1 << (at_byte % 8);
        let Ok(mut recording) = open(bytes) else {
            continue;
        };
        let read: anyhow::Result<Vec<_>> = recording.snapshots().collect();
        let read = read.map(|all| all.into_iter().map(|(_, snapshot)| snapshot));
        if let Ok(read) = read.map(Vec::from_iter) {
            assert_eq!(read, want[..1], "{at_byte}");
        }
    }
}

/// Snapshots are similar, and mostly text.
#[test]
fn a_snapshot_takes_little_room() {
    let json = serde_json::to_vec(&snapshot(Growing::new())).unwrap();
    let frame = encode(&snapshot(Growing::new())).unwrap();
    assert!(
        frame.len() - Header::BYTES < json.len() / 3,
        "{}",
        frame.len()
    );
}

#[test]
fn top_replays_a_series() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("series");
    std::fs::write(&file, series(at(&[0, 10, 20, 60]))).unwrap();
    let replay = |arguments: &[&str]| {
        let mut top = exitprof();
        top.args(["top", "--batch", "--input"]).arg(&file);
        output(top.args(arguments))
    };
    let all = replay(&[]);
    assert_eq!(all.matches("Reason").count(), 3, "{all}");
    insta::assert_snapshot!(replay(&["--between", "20s", "end"]));
    for (arguments, says) in [
        (["--at", "10s"], "use --between"),
        (["--source", "host"], "cannot be used with"),
    ] {
        let mut top = exitprof();
        let top = top.args(["top", "--batch", "--input"]).arg(&file);
        let refused = top.args(arguments).assert().failure();
        let text = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(text.contains(says), "{text}");
    }
}
