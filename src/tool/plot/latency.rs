// SPDX-License-Identifier: GPL-2.0

//! How long exits of a reason took: its histogram, or those of two snapshots.

use super::{
    Picture,
    axis::Quantity,
    chart::{
        Chart,
        distributions::{Bar, Distributions, Panel},
    },
    names,
};
use crate::{
    comparison::letter,
    render::units::{self, Unit},
    snapshot::TimeOf,
    view::{Row, View},
};
use anyhow::{Result, ensure};

/// The histograms of the rows of a view.
///
/// # Errors
///
/// If no row has one.
pub fn of_view(view: &View, unit: Unit, time_of: TimeOf) -> Result<Picture> {
    let rows = view.shown().iter().filter(|row| !row.buckets.is_empty());
    let panels = rows.map(|row| {
        let figures = [
            ("p50", row.p50),
            ("p90", row.p90),
            ("p99", row.p99),
            ("max", row.max),
        ];
        let marks = figures.into_iter().filter_map(|(name, cycles)| {
            let said = format!("{name} {}", unit.show(cycles? as f64));
            Some((place(cycles?), said))
        });
        Panel {
            heading: heading(row),
            bars: bars(row, 0.0, |exits| exits as f64),
            outline: None,
            marks: marks.collect(),
        }
    });
    picture(panels.collect(), Quantity::Exits, unit, time_of)
}

/// The histograms of the same rows of two views, the second of which decides the axis if their
/// clocks differ. The first one's are outlines.
///
/// # Errors
///
/// If no row has one in both.
pub fn of_views(views: [&View; 2], units: [Unit; 2], time_of: TimeOf) -> Result<Picture> {
    let [before, after] = views;
    // Cycles of one clock are others of another.
    let (units, shift) = match units {
        [Unit::Time(a), Unit::Time(b)] => (units, (f64::from(b) / f64::from(a)).log2()),
        _ => ([Unit::Cycles; 2], 0.0),
    };
    let same = |row: &Row| before.rows.iter().find(|other| other.key() == row.key());
    let rows = after.shown().iter();
    let pairs = rows.filter_map(|row| Some([same(row)?, row]));
    let has_both = |pair: &[&Row; 2]| pair.iter().all(|row| !row.buckets.is_empty());
    let panels = pairs.filter(has_both).map(|pair| {
        let shares = |row: &Row, shift: f64| {
            let exits = row.buckets.iter().map(|&(.., exits)| exits as f64);
            let all: f64 = exits.sum();
            bars(row, shift, |exits| exits as f64 / all * 100.0)
        };
        let sides = pair.iter().zip(units).enumerate();
        let figures = sides.map(|(side, (row, unit))| {
            let said = |cycles: Option<u64>| cycles.map_or("-".into(), |c| unit.show(c as f64));
            let [p50, p99] = [row.p50, row.p99].map(said);
            let exits = units::grouped(row.exits);
            format!("{} {exits}, p50 {p50}, p99 {p99}", letter(side))
        });
        let figures: Vec<String> = figures.collect();
        let [a, b] = pair;
        Panel {
            heading: format!("{}: {}", b.name, figures.join("; ")),
            bars: shares(b, 0.0),
            outline: Some(shares(a, shift)),
            marks: Vec::new(),
        }
    });
    picture(panels.collect(), Quantity::Percent, units[1], time_of)
}

fn picture(panels: Vec<Panel>, quantity: Quantity, unit: Unit, time_of: TimeOf) -> Result<Picture> {
    let bars = || {
        (panels.iter()).flat_map(|panel| panel.bars.iter().chain(panel.outline.iter().flatten()))
    };
    ensure!(bars().next().is_some(), NONE);
    let start = bars().map(|bar| bar.from).fold(f64::INFINITY, f64::min);
    let end = bars().map(|bar| bar.to).fold(start, f64::max);
    let powers = start.ceil() as i32..=end.floor() as i32;
    let bounds = powers.map(|power| (f64::from(power), unit.show(2_f64.powi(power))));
    let chart = Distributions {
        range: start..end,
        bounds: bounds.collect(),
        sides: (panels.iter().any(|panel| panel.outline.is_some()))
            .then(|| ["A (outline)", "B (bars)"].map(String::from)),
        panels,
        quantity,
    };
    let mut picture = Picture::new("How long exits take", Chart::Distributions(chart));
    let across = names::of_time(unit, time_of).1.to_lowercase();
    let up = match quantity {
        Quantity::Percent => "share of the exits",
        _ => "number of exits",
    };
    picture.notes.push(format!(
        "Across: {across}, each bar up to twice that of the one before. Up: {up}."
    ));
    Ok(picture)
}

/// Why there is nothing to draw.
const NONE: &str = "there are no histograms: only the reasons of all guests have them, on a host \
                    whose module keeps them (module parameter histograms)";

fn heading(row: &Row) -> String {
    let mut heading = format!(
        "{}: {}",
        row.name,
        units::counted(row.exits, "exit", "exits")
    );
    if let Some(untimed @ 1..) = row.untimed {
        heading += &format!(", of which {} were not timed", units::grouped(untimed));
    }
    heading
}

/// Where a bucket ends. The last one has no end: it is drawn up to the slowest exit, at least as
/// wide as the others.
fn below(row: &Row, from: u64, to: u64) -> u64 {
    match to {
        u64::MAX => row.max.unwrap_or(0).max(from.saturating_mul(2)),
        to => to.saturating_add(1).max(2),
    }
}

/// The place of a time on the axis.
fn place(cycles: u64) -> f64 {
    (cycles.max(1) as f64).log2()
}

/// The bars of a row, moved by `shift`. Those that begin and end at the same places are one.
fn bars(row: &Row, shift: f64, height: impl Fn(u64) -> f64) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for &(from, to, exits) in &row.buckets {
        let [from, to] = [from, below(row, from, to)].map(|cycles| place(cycles) + shift);
        let number = height(exits);
        let last = bars.last_mut();
        match last.filter(|bar| (bar.from, bar.to) == (from, to)) {
            Some(bar) => bar.number += number,
            None => bars.push(Bar { from, to, number }),
        }
    }
    bars
}
