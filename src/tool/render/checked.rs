// SPDX-License-Identifier: GPL-2.0

//! The table of what is normal, and what is not.

use super::{
    cells::shown_as,
    facts::VERSION,
    grid::{Column, Grid, Rows, Value},
    sheet::{Look, Sheet, Shown, Times},
    table,
    units::{Unit, change, counted, duration, when},
    words::label,
};
use crate::{
    baseline::{Allowance, Checked, Figure, Verdict, course::Course},
    columns::{self, Kind, Meta},
    comparison,
    snapshot::{Origin, Snapshot},
    view,
};
use jiff::Timestamp;
use profile::isa::Isa;
use schemars::JsonSchema;
use serde::Serialize;

/// What `check` prints: a line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Check")]
pub struct Facts {
    /// Version of the format: 3, as of `report`.
    version: u32,
    /// Where the baseline was read, and what is checked.
    #[serde(rename = "source")]
    origin: Origin,
    /// The instruction set that the reasons belong to.
    #[schemars(with = "crate::snapshot::shape::Isa")]
    isa: Isa,
    /// The unit of times.
    times: comparison::Times,
    /// How many times the noise is normal.
    noise: f64,
    /// Which change is normal, though it is more than noise, in percent.
    change: f64,
    /// Whether all figures are normal. If not, the exit status is 3.
    normal: bool,
    /// The baseline.
    baseline: Side,
    /// What is checked.
    now: Side,
}

/// One of the sides that are compared.
#[derive(Serialize, JsonSchema)]
pub struct Side {
    /// The file, or "this machine".
    name: String,
    /// The number of intervals.
    intervals: usize,
    /// How many seconds they took.
    seconds: f64,
    /// How many more were left out, because the counters were replaced or recording was off.
    left_out: usize,
    /// When it was read last: date and time of day (UTC).
    clock: Option<Timestamp>,
    /// The name of the machine that read it.
    machine: Option<String>,
}

impl Side {
    /// That of a file or machine called `name`, of which `last` was read last.
    pub fn new(name: &str, last: &Snapshot, course: &Course) -> Side {
        Side {
            name: name.into(),
            intervals: course.len(),
            seconds: course.seconds(),
            left_out: course.left_out,
            clock: last.clock,
            machine: last.machine.clone(),
        }
    }

    fn says(&self) -> String {
        let intervals = counted(self.intervals as u64, "interval", "intervals");
        let mut facts = vec![
            self.name.clone(),
            format!("{intervals} in {}", duration(self.seconds)),
        ];
        if self.left_out > 0 {
            facts.push(format!("{} left out", self.left_out));
        }
        facts.extend(self.machine.clone());
        facts.extend(self.clock.map(when));
        facts.join(", ")
    }
}

impl Facts {
    /// What is known of a check against a baseline that ended with `snapshot`.
    pub fn new(
        snapshot: &Snapshot,
        [baseline, now]: [Side; 2],
        times: comparison::Times,
        allowance: Allowance,
        normal: bool,
    ) -> Facts {
        Facts {
            version: VERSION,
            origin: snapshot.origin,
            isa: snapshot.isa,
            times,
            noise: allowance.noise,
            change: allowance.percent,
            normal,
            baseline,
            now,
        }
    }
}

/// The figures of a row: what programs and people call them, and what their values are.
const FIGURES: [(&str, &str, Kind); 3] = [
    ("rate", "Exits/s", Kind::Mean),
    ("time", "Time/s", Kind::Time),
    ("p99", "p99", Kind::Time),
];

fn figure(row: &Checked, index: usize) -> Option<Figure> {
    [Some(row.rate), row.time, row.p99][index]
}

/// The columns of a figure: the baseline's, its noise, the limit, and that of now.
fn metas(kind: Kind) -> [&'static Meta; 4] {
    use columns::*;
    match kind {
        Kind::Mean => [&BASELINE_RATE, &NOISE_RATE, &LIMIT_RATE, &NOW_RATE],
        _ => [&BASELINE_TIME, &NOISE_TIME, &LIMIT_TIME, &NOW_TIME],
    }
}

/// The columns.
pub fn columns<'a>() -> Vec<Column<'a, Checked>> {
    let key = |row: &Checked| row.key.clone();
    let mut all = vec![
        Column::new(&columns::REASON, move |row| key(row).and_then(|k| k.reason)),
        Column::new(&columns::NAME, |row: &Checked| row.name().to_string()),
    ];
    for (index, (group, _, kind)) in FIGURES.into_iter().enumerate() {
        let values: [fn(Figure) -> f64; 4] = [
            |figure| figure.baseline,
            |figure| figure.noise,
            Figure::limit,
            |figure| figure.now,
        ];
        for (meta, value) in metas(kind).into_iter().zip(values) {
            let value = move |row: &Checked| figure(row, index).map(value);
            all.push(Column::new(meta, value).of(group));
        }
        let verdict = move |row: &Checked| figure(row, index).map(|f| f.verdict().name());
        all.push(Column::new(&columns::VERDICT, verdict).of(group));
    }
    all
}

/// The table.
pub fn grid(rows: &[Checked]) -> Rows<'_, Checked> {
    Rows {
        columns: columns(),
        rows,
    }
}

/// A sheet of that table. The notes are of all `rows`.
pub fn sheet<'a>(grid: &'a dyn Grid, rows: &[Checked], facts: &'a Facts) -> Sheet<'a> {
    let times = match facts.times {
        comparison::Times::Ns => Times::Nanoseconds,
        comparison::Times::Cycles => Times::Of(Unit::Cycles),
    };
    let heads = grid.heads();
    let mut shown = Vec::new();
    let mut add = |meta: &Meta, group: Option<&str>, over: &str, need| {
        let mut heads = heads.iter();
        let column = heads.position(|head| head.meta == meta && head.group.as_deref() == group);
        shown.extend(column.map(|column| Shown {
            column,
            label: meta.label.into(),
            over: over.into(),
            need,
        }));
    };
    add(&columns::NAME, None, "", u8::MAX);
    for (group, over, kind) in FIGURES {
        let [baseline, _, limit, now] = metas(kind);
        add(baseline, Some(group), over, 10);
        add(limit, Some(group), over, 20);
        add(now, Some(group), over, 20);
    }
    let mut title = vec![
        label("Baseline", facts.baseline.says()),
        label("Now", facts.now.says()),
    ];
    if let Times::Of(_) = times {
        title.push("Times are in TSC cycles".into());
    }
    Sheet {
        facts,
        reading: None,
        grid,
        shown,
        look: Look {
            times,
            width: table::width(),
            bar: None,
        },
        instead: None,
        title,
        notes: notes(rows, facts, times),
    }
}

fn notes(rows: &[Checked], facts: &Facts, times: Times) -> Vec<String> {
    let mut notes = Vec::new();
    for (verdict, name) in [(Verdict::Above, "Above"), (Verdict::Below, "Below")] {
        let figures = rows.iter().flat_map(|row| {
            let of = move |(index, (_, name, kind))| (row.name(), name, kind, figure(row, index));
            FIGURES.into_iter().enumerate().map(of)
        });
        let lines = figures.filter_map(|(row, name, kind, figure)| {
            let figure = figure.filter(|figure| figure.verdict() == verdict)?;
            let said = |value| shown_as(&Value::Real(value), kind, times);
            Some(format!(
                "{row} {name}: {}, {} of {} (noise {})",
                said(figure.now),
                change(view::change(figure.baseline, figure.now)),
                said(figure.baseline),
                said(figure.noise)
            ))
        });
        for (index, line) in lines.enumerate() {
            notes.push(label(if index == 0 { name } else { "" }, line));
        }
    }
    if facts.normal {
        notes.insert(0, label("Normal", "no figure is above its limit"));
    }
    notes.push(label(
        "Limit",
        format!(
            "the baseline's figure, plus {} times its noise or {}%, whichever is more",
            facts.noise, facts.change
        ),
    ));
    notes
}
