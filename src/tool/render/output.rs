// SPDX-License-Identifier: GPL-2.0

//! Views for programs: JSON and CSV, as `exitprof schema` describes them.

use crate::{
    rate::Stability,
    snapshot::{Origin, Reading, Snapshot, id::Id},
    view::{Row, View},
};
use anyhow::Result;
use profile::{isa::Isa, text::Account};
use serde::Serialize;
use std::io::Write;

/// The version of what is printed as JSON.
pub const VERSION: u32 = 2;

/// All exits that shares are shares of.
#[derive(Serialize)]
struct Total {
    samples: u128,
    cycles: u128,
    untimed: Option<u128>,
}

/// A view and what it is of.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
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

/// Prints a view of `snapshot` as JSON in one line.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn json(
    snapshot: &Snapshot,
    view: &View,
    rate: Option<&Stability>,
    out: &mut impl Write,
) -> Result<()> {
    let document = Document {
        version: VERSION,
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
            samples: view.total.exits,
            cycles: view.total.cycles,
            untimed: view.total.untimed,
        },
        rows: view.shown(),
        rate,
    };
    writeln!(out, "{}", serde_json::to_string(&document)?)?;
    Ok(())
}

/// The columns of CSV.
pub const COLUMNS: [&str; 15] = [
    "vm",
    "vcpu",
    "reason",
    "name",
    "samples",
    "samples_percent",
    "cycles",
    "time_percent",
    "min",
    "max",
    "avg",
    "p50",
    "p99",
    "untimed",
    "id",
];

impl Row {
    fn fields(&self) -> [String; COLUMNS.len()] {
        fn text<T: ToString>(value: &Option<T>) -> String {
            value.as_ref().map_or_else(String::new, T::to_string)
        }
        [
            text(&self.vm),
            text(&self.vcpu),
            text(&self.reason),
            self.name.clone(),
            self.samples.to_string(),
            text(&self.samples_percent),
            self.cycles.to_string(),
            text(&self.time_percent),
            text(&self.min),
            text(&self.max),
            text(&self.avg),
            text(&self.p50),
            text(&self.p99),
            text(&self.untimed),
            text(&self.id),
        ]
    }
}

/// Prints the columns' names as CSV; those of intervals begin with their end.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn csv_head(with_time: bool, out: &mut impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let time = with_time.then_some("time");
    writer.write_record(time.into_iter().chain(COLUMNS))?;
    writer.flush()?;
    Ok(())
}

/// Prints a view as CSV; that of an interval with its end, in seconds.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn csv(view: &View, time: Option<f64>, out: &mut impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for row in view.shown() {
        let time = time.map(|seconds| format!("{seconds:.6}"));
        writer.write_record(time.into_iter().chain(row.fields()))?;
    }
    writer.flush()?;
    Ok(())
}
