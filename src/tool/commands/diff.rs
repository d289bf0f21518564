// SPDX-License-Identifier: GPL-2.0

//! `exitprof diff`: which reasons moved between two snapshots.

use crate::{
    continuity::Break,
    render::{
        Format, output,
        table::{self, Column},
        units::{self, Unit, change, count, duration},
        words,
    },
    select::Selection,
    snapshot::{Origin, Snapshot},
    source::file,
    view::{Row, View, percent},
};
use anyhow::{Result, bail, ensure};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    path::PathBuf,
};

/// What `exitprof diff` is told.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The earlier recording
    a: PathBuf,
    /// The later recording
    b: PathBuf,
    /// Only the N reasons that moved most
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Show cycles even if the frequencies of the TSCs are known
    #[arg(long)]
    cycles: bool,
}

/// What one of the snapshots says of a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Side {
    samples: u128,
    cycles: u128,
    /// Exits per second, if both snapshots say since when they count.
    samples_per_second: Option<f64>,
    samples_percent: Option<f64>,
    time_percent: Option<f64>,
    /// Cycles, or if `times` is `ns`, nanoseconds of an exit.
    avg: Option<f64>,
    /// The same of all exits, per second if the exits are; not known if none was timed.
    time: Option<f64>,
    /// How many of the exits were not timed, if that is known.
    untimed: Option<u128>,
}

/// A reason in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Pair {
    reason: Option<u32>,
    name: String,
    a: Side,
    b: Side,
}

/// The comparison, as JSON.
#[derive(Debug, Serialize)]
struct Comparison {
    version: u32,
    /// Whether `b` has gone on counting from `a`: then it is what was added.
    continued: bool,
    /// Whether only the counters say so: an older module tells a guest no identity.
    presumed: bool,
    /// Why it has not.
    separate: Option<Break>,
    seconds_a: Option<f64>,
    seconds_b: Option<f64>,
    times: &'static str,
    rows: Vec<Pair>,
}

/// Compares two snapshots.
///
/// # Errors
///
/// If they are not to be read, or not to be compared.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let a = file::read(&arguments.a)?;
    let b = file::read(&arguments.b)?;
    let mut comparison = Comparison::new(a, b, arguments.cycles)?;
    let shown = comparison
        .rows
        .len()
        .min(arguments.top.unwrap_or(usize::MAX));
    match arguments.format {
        Format::Table => comparison.print(&comparison.rows[..shown], out),
        Format::Json => {
            comparison.rows.truncate(shown);
            writeln!(out, "{}", serde_json::to_string(&comparison)?)?;
            Ok(())
        }
        Format::Csv => csv(&comparison.rows[..shown], out),
    }
}

/// Whether `a` goes on from `b`, for sure: both tell the same identity, or the host's
/// clock says so.
fn is_swapped(a: &Snapshot, b: &Snapshot) -> bool {
    let identified = a.identity.is_some() && b.identity.is_some();
    let timed = a.origin == Origin::Host && a.time_ns > b.time_ns;
    (identified || timed) && a.since(b).is_ok()
}

impl Comparison {
    fn new(a: Snapshot, b: Snapshot, cycles: bool) -> Result<Comparison> {
        ensure!(
            a.isa == b.isa,
            "the snapshots are of different instruction sets, whose reasons have nothing in common"
        );
        let identified = a.identity.is_some() && b.identity.is_some();
        let (b, separate) = match b.since(&a) {
            Ok(added) => (added, None),
            Err(_) if is_swapped(&a, &b) => {
                bail!("A was recorded after B, and both are of the same counters: swap them")
            }
            Err(why) => (b, Some(why)),
        };
        let times = !cycles && a.tsc_khz > 0 && b.tsc_khz > 0;
        let seconds = a.seconds().zip(b.seconds());
        let sides = |snapshot: &Snapshot, seconds: Option<f64>| -> Result<_> {
            let view = View::new(snapshot, &Selection::everything())?;
            let scale = match times {
                true => 1e6 / f64::from(snapshot.tsc_khz),
                false => 1.0,
            };
            let side = |row: &Row| Side {
                samples: row.samples,
                cycles: row.cycles,
                samples_per_second: seconds.map(|s| row.samples as f64 / s),
                samples_percent: row.samples_percent,
                time_percent: row.time_percent,
                avg: row.avg.map(|avg| avg * scale),
                time: (row.samples == 0 || row.untimed != Some(row.samples))
                    .then(|| row.cycles as f64 * scale / seconds.unwrap_or(1.0)),
                untimed: row.untimed,
            };
            let key = |row: &Row| (row.reason, row.name.clone());
            let sides = view.rows.iter().map(|row| (key(row), side(row)));
            Ok(sides.collect::<BTreeMap<_, _>>())
        };
        let sides_a = sides(&a, seconds.map(|(a, _)| a))?;
        let sides_b = sides(&b, seconds.map(|(_, b)| b))?;
        let none = Side {
            samples_per_second: seconds.map(|_| 0.0),
            time: Some(0.0),
            untimed: Some(0),
            ..Side::default()
        };
        let keys: BTreeSet<_> = sides_a.keys().chain(sides_b.keys()).collect();
        let mut rows: Vec<Pair> = keys
            .into_iter()
            .map(|key| Pair {
                reason: key.0,
                name: key.1.clone(),
                a: sides_a.get(key).copied().unwrap_or(none),
                b: sides_b.get(key).copied().unwrap_or(none),
            })
            .collect();
        rows.sort_by(|x, y| {
            let moved = |pair: &Pair| (pair.moved().map(f64::abs), pair.exits_moved().abs());
            moved(y)
                .partial_cmp(&moved(x))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        Ok(Comparison {
            version: output::VERSION,
            continued: separate.is_none(),
            presumed: separate.is_none() && !identified && a.origin != Origin::Host,
            separate,
            seconds_a: a.seconds(),
            seconds_b: b.seconds(),
            times: if times { "ns" } else { "cycles" },
            rows,
        })
    }

    /// As `Unit` shows them.
    fn show(&self, time: f64) -> String {
        match self.times {
            "ns" => units::time(time),
            _ => Unit::Cycles.show(time),
        }
    }

    fn print(&self, rows: &[Pair], out: &mut impl Write) -> Result<()> {
        let second = self.seconds_a.is_some() && self.seconds_b.is_some();
        let lasted = |seconds: Option<f64>| match seconds {
            Some(seconds) => duration(seconds),
            None => "an unknown time".into(),
        };
        let (seconds_a, seconds_b) = (lasted(self.seconds_a), lasted(self.seconds_b));
        match self.separate {
            None => writeln!(
                out,
                "A: {seconds_a}; B: what was added since, in {seconds_b}"
            )?,
            Some(why) => writeln!(
                out,
                "A: {seconds_a}; B: another count, in {seconds_b}\nWhy another: {why}"
            )?,
        }
        if self.presumed {
            writeln!(
                out,
                "Presumed, as no counter is lower: not both recordings tell what they count"
            )?;
        }
        if second {
            writeln!(out, "Samples and Time are per second")?;
        }
        writeln!(out)?;
        let column =
            |head, cell: &dyn Fn(&Pair) -> String| Column::new(head, rows.iter().map(cell));
        let samples = |side: &Side| match side.samples_per_second {
            Some(rate) if rate < 99.95 => format!("{rate:.1}"),
            Some(rate) => count(rate, 7),
            None => count(side.samples as f64, 7),
        };
        let avg = |side: &Side| side.avg.map_or("-".into(), |avg| self.show(avg));
        let signed = |time: f64| match time {
            t if t < 0.0 => format!("-{}", self.show(-t)),
            t => format!("+{}", self.show(t)),
        };
        let columns = [
            column("Reason", &|pair| table::shortened(&pair.name)).left(),
            column("Samples", &|pair| samples(&pair.a)),
            column("in B", &|pair| samples(&pair.b)),
            column("change", &|pair| {
                factor(Some(pair.a.exits()), Some(pair.b.exits()))
            }),
            column("Avg", &|pair| avg(&pair.a)),
            column("in B", &|pair| avg(&pair.b)),
            column("change", &|pair| factor(pair.a.avg, pair.b.avg)),
            column("Time change", &|pair| {
                pair.moved().map_or("-".into(), signed)
            }),
        ];
        table::print(&columns, out)?;

        let sum = |of: fn(&Pair) -> f64| self.rows.iter().map(of).fold(0.0, |sum, n| sum + n);
        let exits = [sum(|pair| pair.a.exits()), sum(|pair| pair.b.exits())];
        let time = [
            sum(|pair| pair.a.time.unwrap_or(0.0)),
            sum(|pair| pair.b.time.unwrap_or(0.0)),
        ];
        let per = if second { " per second" } else { "" };
        let [exits_a, exits_b] = exits.map(|n| {
            if second {
                format!("{n:.1}")
            } else {
                format!("{n:.0}")
            }
        });
        writeln!(
            out,
            "\nExits{per}: {exits_a}, then {exits_b} ({})",
            factor(Some(exits[0]), Some(exits[1]))
        )?;
        let untimed: Vec<String> = rows.iter().filter_map(Pair::untimed).collect();
        if !untimed.is_empty() {
            writeln!(out, "{}", words::listed("Not timed: ", &untimed))?;
        }
        if time.contains(&0.0) {
            writeln!(out, "Time: unknown, as one of them has none")?;
            return Ok(());
        }
        writeln!(
            out,
            "Time{per}: {}, then {} ({})",
            self.show(time[0]),
            self.show(time[1]),
            factor(Some(time[0]), Some(time[1]))
        )?;
        let first = self
            .rows
            .first()
            .and_then(|pair| Some((pair, pair.moved()?)));
        if let Some((most, moved)) = first.filter(|(_, moved)| *moved != 0.0) {
            writeln!(out, "Moved most: {}, by {}", most.name, signed(moved))?;
        }
        Ok(())
    }
}

impl Side {
    /// Exits, per second if that is known.
    fn exits(&self) -> f64 {
        self.samples_per_second.unwrap_or(self.samples as f64)
    }
}

impl Pair {
    /// How much more time the exits take.
    fn moved(&self) -> Option<f64> {
        Some(self.b.time? - self.a.time?)
    }

    /// What part of the exits was not timed, if some were not.
    fn untimed(&self) -> Option<String> {
        let part = |side: &Side| {
            let part = side.untimed.and_then(|n| percent(n, side.samples));
            part.map_or("-".into(), |part| units::percent(part / 100.0))
        };
        let (a, b) = (part(&self.a), part(&self.b));
        let some = |side: &Side| side.untimed.is_some_and(|n| n > 0);
        (some(&self.a) || some(&self.b)).then(|| format!("{} {a}, then {b}", self.name))
    }

    fn exits_moved(&self) -> f64 {
        self.b.exits() - self.a.exits()
    }
}

/// The change from one to the other.
fn factor(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a > 0.0 => change(b / a),
        (Some(_), Some(b)) if b > 0.0 => "new".into(),
        _ => "-".into(),
    }
}

/// The columns of CSV: those of `a`, and the same of `b`.
const COLUMNS: [&str; 8] = [
    "samples",
    "cycles",
    "samples_per_second",
    "samples_percent",
    "time_percent",
    "avg",
    "time",
    "untimed",
];

fn csv(rows: &[Pair], out: &mut impl Write) -> Result<()> {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(String::new, |value| value.to_string())
    }
    let fields = |side: &Side| {
        [
            side.samples.to_string(),
            side.cycles.to_string(),
            text(side.samples_per_second),
            text(side.samples_percent),
            text(side.time_percent),
            text(side.avg),
            text(side.time),
            text(side.untimed),
        ]
    };
    let mut writer = csv::Writer::from_writer(out);
    let named = |side: &'static str| COLUMNS.iter().map(move |column| format!("{side}_{column}"));
    let first = ["reason".to_string(), "name".to_string()];
    writer.write_record(first.into_iter().chain(named("a")).chain(named("b")))?;
    for pair in rows {
        let first = [text(pair.reason), pair.name.clone()];
        writer.write_record(
            (first.into_iter())
                .chain(fields(&pair.a))
                .chain(fields(&pair.b)),
        )?;
    }
    writer.flush()?;
    Ok(())
}
