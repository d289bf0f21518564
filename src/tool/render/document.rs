// SPDX-License-Identifier: GPL-2.0

//! What programs read, as described by `exitprof schema`.

use super::{
    Export,
    csv::{Column, optional},
};
use crate::{
    comparison::{Comparison, Pair, Side},
    rate::Stability,
    snapshot::{Origin, Reading, Snapshot, id::Id},
    view::{Row, View},
};
use profile::{isa::Isa, text::Account};
use serde::Serialize;

/// A view, and the snapshot that it shows.
#[derive(Serialize)]
pub struct Document<'a> {
    #[serde(rename = "source")]
    origin: Origin,
    isa: Isa,
    identity: Option<Id>,
    epoch: u32,
    tsc_khz: u32,
    seconds: Option<f64>,
    cpus: Option<u32>,
    recording: Option<bool>,
    account: Option<Account>,
    reading: Option<Reading>,
    total: Total,
    rows: &'a [Row],
    rate: Option<&'a Stability>,
}

/// All exits that percentages refer to.
#[derive(Serialize)]
struct Total {
    exits: u128,
    cycles: u128,
    untimed: Option<u128>,
}

impl<'a> Document<'a> {
    /// Takes what `view` shows of `snapshot`, and the rate if it was watched.
    pub fn new(snapshot: &Snapshot, view: &'a View, rate: Option<&'a Stability>) -> Document<'a> {
        Document {
            origin: snapshot.origin,
            isa: snapshot.isa,
            identity: snapshot.identity,
            epoch: snapshot.epoch,
            tsc_khz: snapshot.tsc_khz,
            seconds: snapshot.seconds(),
            cpus: snapshot.cpus,
            recording: snapshot.recording,
            account: snapshot.account,
            reading: snapshot.reading,
            total: Total {
                exits: view.total.exits,
                cycles: view.total.cycles,
                untimed: view.total.untimed,
            },
            rows: view.shown(),
            rate,
        }
    }
}

const COLUMNS: [Column<Row>; 15] = [
    ("vm", |row| optional(&row.vm)),
    ("vcpu", |row| optional(&row.vcpu)),
    ("reason", |row| optional(&row.reason)),
    ("name", |row| row.name.clone()),
    ("exits", |row| row.exits.to_string()),
    ("exits_percent", |row| optional(&row.exits_percent)),
    ("cycles", |row| row.cycles.to_string()),
    ("time_percent", |row| optional(&row.time_percent)),
    ("min", |row| optional(&row.min)),
    ("max", |row| optional(&row.max)),
    ("avg", |row| optional(&row.avg)),
    ("p50", |row| optional(&row.p50)),
    ("p99", |row| optional(&row.p99)),
    ("untimed", |row| optional(&row.untimed)),
    ("id", |row| optional(&row.id)),
];

impl Export for Document<'_> {
    fn columns() -> Vec<String> {
        COLUMNS.iter().map(|(name, _)| name.to_string()).collect()
    }

    fn records(&self) -> Vec<Vec<String>> {
        let fields = |row| COLUMNS.iter().map(|(_, field)| field(row)).collect();
        self.rows.iter().map(fields).collect()
    }
}

/// The document of an interval.
#[derive(Serialize)]
pub struct Interval<'a> {
    /// What was counted.
    #[serde(flatten)]
    pub document: Document<'a>,
    /// When it ended, in seconds since the first interval began.
    #[serde(rename = "time")]
    pub end: Option<f64>,
}

impl Export for Interval<'_> {
    fn columns() -> Vec<String> {
        [vec!["time".into()], Document::columns()].concat()
    }

    fn records(&self) -> Vec<Vec<String>> {
        let end = optional(&self.end.map(|seconds| format!("{seconds:.6}")));
        let rows = self.document.records().into_iter();
        rows.map(|fields| [vec![end.clone()], fields].concat())
            .collect()
    }
}

const SIDE: [Column<Side>; 8] = [
    ("exits", |side| side.exits.to_string()),
    ("cycles", |side| side.cycles.to_string()),
    ("exits_per_second", |side| optional(&side.exits_per_second)),
    ("exits_percent", |side| optional(&side.exits_percent)),
    ("time_percent", |side| optional(&side.time_percent)),
    ("avg", |side| optional(&side.avg)),
    ("time", |side| optional(&side.time)),
    ("untimed", |side| optional(&side.untimed)),
];

impl Export for Comparison {
    fn columns() -> Vec<String> {
        let names = |side| SIDE.iter().map(move |(name, _)| format!("{side}_{name}"));
        let first = ["reason".into(), "name".into()];
        first
            .into_iter()
            .chain(names("a"))
            .chain(names("b"))
            .collect()
    }

    fn records(&self) -> Vec<Vec<String>> {
        let fields = |pair: &Pair| {
            let first = [optional(&pair.reason), pair.name.clone()];
            let sides = [pair.a, pair.b].into_iter();
            let sides = sides.flat_map(|side| SIDE.map(|(_, field)| field(&side)));
            first.into_iter().chain(sides).collect()
        };
        self.rows.iter().map(fields).collect()
    }
}
