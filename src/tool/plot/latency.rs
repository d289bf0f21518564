// SPDX-License-Identifier: GPL-2.0

//! How long exits of a reason took: its histogram, or those of two snapshots.

use super::{
    Picture,
    axis::Quantity,
    chart::{
        Chart,
        distributions::{Bar, Distributions, Panel},
    },
};
use crate::{
    comparison::letter,
    render::units::{self, Unit},
    view::{Row, View},
};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// The histograms of the rows of a view.
///
/// # Errors
///
/// If no row has one.
pub fn of_view(view: &View, unit: Unit) -> Result<Picture> {
    let rows: Vec<&Row> = view
        .shown()
        .iter()
        .filter(|row| !row.buckets.is_empty())
        .collect();
    let range = Range::of(&rows).context(NONE)?;
    let panels = rows.iter().map(|row| {
        let figures = [
            ("p50", row.p50),
            ("p90", row.p90),
            ("p99", row.p99),
            ("max", row.max),
        ];
        let marks = figures.into_iter().filter_map(|(name, cycles)| {
            let cycles = cycles?;
            Some((
                place(cycles),
                format!("{name} {}", unit.show(cycles as f64)),
            ))
        });
        Panel {
            heading: heading(row),
            bars: bars(row, |exits| exits as f64),
            outline: None,
            marks: marks.collect(),
        }
    });
    let chart = Distributions {
        bounds: range.bounds(unit),
        panels: panels.collect(),
        quantity: Quantity::Exits,
        sides: None,
    };
    let mut picture = Picture::new("How long exits take", Chart::Distributions(chart));
    picture.notes.push(axis(unit, "number of exits"));
    Ok(picture)
}

/// The histograms of the same rows of two views: the first one's are outlines.
///
/// # Errors
///
/// If no row has one in both.
pub fn of_views(views: [&View; 2], unit: Unit) -> Result<Picture> {
    let [before, after] = views;
    let same = |row: &Row| before.rows.iter().find(|other| other.key() == row.key());
    let pairs = after
        .shown()
        .iter()
        .filter_map(|row| Some([same(row)?, row]));
    let has_both = |pair: &[&Row; 2]| pair.iter().all(|row| !row.buckets.is_empty());
    let pairs: Vec<[&Row; 2]> = pairs.filter(has_both).collect();
    let range = Range::of(&pairs.concat()).context(NONE)?;
    let panels = pairs.iter().map(|pair| {
        let share = |row: &Row| {
            let all: u128 = row
                .buckets
                .iter()
                .map(|&(.., exits)| u128::from(exits))
                .sum();
            bars(row, |exits| exits as f64 / all as f64 * 100.0)
        };
        let figures = pair.iter().enumerate().map(|(index, row)| {
            let said = |cycles: Option<u64>| cycles.map_or("-".into(), |c| unit.show(c as f64));
            let (p50, p99) = (said(row.p50), said(row.p99));
            format!(
                "{}: {}, p50 {p50}, p99 {p99}",
                letter(index),
                units::grouped(row.exits)
            )
        });
        let figures: Vec<String> = figures.collect();
        Panel {
            heading: format!("{}  {}", pair[1].name, figures.join(";  ")),
            bars: share(pair[1]),
            outline: Some(share(pair[0])),
            marks: Vec::new(),
        }
    });
    let chart = Distributions {
        bounds: range.bounds(unit),
        panels: panels.collect(),
        quantity: Quantity::Percent,
        sides: Some(["A (outline)", "B (bars)"].map(String::from)),
    };
    let mut picture = Picture::new("How long exits take", Chart::Distributions(chart));
    picture.notes.push(axis(unit, "share of the exits"));
    Ok(picture)
}

/// Why there is nothing to draw.
const NONE: &str = "there are no histograms: only the reasons of all guests have them, on a host \
                    whose module keeps them (module parameter histograms)";

fn axis(unit: Unit, height: &str) -> String {
    let unit = match unit {
        Unit::Cycles => "cycles in KVM's handler",
        Unit::Time(_) => "time in KVM's handler",
    };
    format!("Across: {unit}, each bar up to twice that of the one before. Up: {height}.")
}

fn heading(row: &Row) -> String {
    let mut heading = format!(
        "{}  {}",
        row.name,
        units::counted(row.exits, "exit", "exits")
    );
    if let Some(untimed @ 1..) = row.untimed {
        heading += &format!(", of which {} were not timed", units::grouped(untimed));
    }
    heading
}

/// The buckets that any of the rows has exits in: from and below.
struct Range(BTreeSet<(u64, u64)>);

impl Range {
    /// That of these rows; `None` if none has exits.
    fn of(rows: &[&Row]) -> Option<Range> {
        let buckets = rows
            .iter()
            .flat_map(|row| row.buckets.iter().map(move |&bucket| (row, bucket)));
        let bounds = buckets.map(|(row, (from, to, _))| (from, below(row, from, to)));
        let range = Range(bounds.collect());
        (!range.0.is_empty()).then_some(range)
    }

    /// The bounds, and what they are called.
    fn bounds(&self, unit: Unit) -> Vec<(f64, String)> {
        let all: BTreeSet<u64> = self.0.iter().flat_map(|&(from, to)| [from, to]).collect();
        let name = |cycles: u64| (place(cycles), unit.show(cycles as f64));
        let mut bounds: Vec<(f64, String)> = all.into_iter().map(name).collect();
        // Fractions of a cycle have no place of their own.
        bounds.dedup_by(|(a, _), (b, _)| a == b);
        bounds
    }
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

/// The bars of a row. Those that begin and end at the same places are one.
fn bars(row: &Row, height: impl Fn(u64) -> f64) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for &(from, to, exits) in &row.buckets {
        let (from, to) = (place(from), place(below(row, from, to)));
        let number = height(exits);
        match bars
            .last_mut()
            .filter(|bar| (bar.from, bar.to) == (from, to))
        {
            Some(bar) => bar.number += number,
            None => bars.push(Bar { from, to, number }),
        }
    }
    bars
}
