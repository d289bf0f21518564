// SPDX-License-Identifier: GPL-2.0

//! Shows a comparison to people, as a table and in words.

use super::{
    table::{self, Column},
    units::{self, Unit, change, count, duration},
    words,
};
use crate::{
    comparison::{Comparison, Pair, Side, Times},
    view::percent,
};
use std::io::{self, Write};

/// Prints the first `top` reasons, and a summary of all.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn print(comparison: &Comparison, top: usize, out: &mut impl Write) -> io::Result<()> {
    let rows = &comparison.rows[..comparison.rows.len().min(top)];
    head(comparison, out)?;
    writeln!(out)?;
    table(comparison, rows, out)?;
    writeln!(out)?;
    summary(comparison, rows, out)
}

/// Says how long both counted, and whether B continues A.
fn head(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    let lasted = |seconds: Option<f64>| seconds.map_or("an unknown time".into(), duration);
    let [a, b] = [comparison.seconds_a, comparison.seconds_b].map(lasted);
    match comparison.separate {
        None => writeln!(out, "A: {a}; B: what was added since, in {b}")?,
        Some(why) => writeln!(out, "A: {a}; B: {b}\nB does not continue A: {why}")?,
    }
    if comparison.presumed {
        writeln!(
            out,
            "Presumed, because no counter is lower: a recording does not say what it counts"
        )?;
    }
    if comparison.is_per_second() {
        writeln!(out, "Exits and Time are per second")?;
    }
    Ok(())
}

fn table(comparison: &Comparison, rows: &[Pair], out: &mut impl Write) -> io::Result<()> {
    let times = comparison.times;
    let exits = |side: &Side| match side.exits_per_second {
        Some(rate) if rate < 99.95 => format!("{rate:.1}"),
        Some(rate) => count(rate, 7),
        None => count(side.exits as f64, 7),
    };
    let avg = |side: &Side| side.avg.map_or("-".into(), |avg| show(avg, times));
    let column = |head, cell: &dyn Fn(&Pair) -> String| Column::new(head, rows.iter().map(cell));
    let columns = [
        column("Reason", &|pair| table::shortened(&pair.name)).left(),
        column("Exits", &|pair| exits(&pair.a)),
        column("in B", &|pair| exits(&pair.b)),
        column("change", &|pair| {
            factor(Some(pair.a.rate()), Some(pair.b.rate()))
        }),
        column("Avg", &|pair| avg(&pair.a)),
        column("in B", &|pair| avg(&pair.b)),
        column("change", &|pair| factor(pair.a.avg, pair.b.avg)),
        column("Time change", &|pair| {
            let change = pair.time_change();
            change.map_or("-".into(), |time| signed(time, times))
        }),
    ];
    table::print(&columns, out)
}

/// Prints sums of all reasons, which exits of `rows` were not timed, and what changed most.
fn summary(comparison: &Comparison, rows: &[Pair], out: &mut impl Write) -> io::Result<()> {
    let is_per_second = comparison.is_per_second();
    let per = if is_per_second { " per second" } else { "" };
    let sum = |of: fn(&Pair) -> f64| comparison.rows.iter().map(of).fold(0.0, |sum, n| sum + n);

    let exits = [sum(|pair| pair.a.rate()), sum(|pair| pair.b.rate())];
    let digits = if is_per_second { 1 } else { 0 };
    let [a, b] = exits.map(|n| format!("{n:.digits$}"));
    let change = factor(Some(exits[0]), Some(exits[1]));
    writeln!(out, "Exits{per}: {a}, then {b} ({change})")?;

    let untimed: Vec<String> = rows.iter().filter_map(untimed).collect();
    if !untimed.is_empty() {
        let label = "Not timed: ";
        writeln!(out, "{label}{}", words::listed(&untimed, label.len()))?;
    }

    let time = [
        sum(|pair| pair.a.time.unwrap_or(0.0)),
        sum(|pair| pair.b.time.unwrap_or(0.0)),
    ];
    if time.contains(&0.0) {
        return writeln!(out, "Time: unknown, because a recording has no times");
    }
    let [a, b] = time.map(|time| show(time, comparison.times));
    let change = factor(Some(time[0]), Some(time[1]));
    writeln!(out, "Time{per}: {a}, then {b} ({change})")?;

    let first = comparison.rows.first();
    let most = first.and_then(|pair| Some((&pair.name, pair.time_change()?)));
    if let Some((name, change)) = most.filter(|(_, change)| *change != 0.0) {
        writeln!(
            out,
            "Changed most: {name}, by {}",
            signed(change, comparison.times)
        )?;
    }
    Ok(())
}

/// The share of a reason's exits that were not timed, if there are any.
fn untimed(pair: &Pair) -> Option<String> {
    let part = |side: &Side| {
        let part = side.untimed.and_then(|n| percent(n, side.exits));
        part.map_or("-".into(), |part| units::percent(part / 100.0))
    };
    let (a, b) = (part(&pair.a), part(&pair.b));
    let some = |side: &Side| side.untimed.is_some_and(|n| n > 0);
    (some(&pair.a) || some(&pair.b)).then(|| format!("{} {a}, then {b}", pair.name))
}

fn show(time: f64, times: Times) -> String {
    match times {
        Times::Ns => units::time(time),
        Times::Cycles => Unit::Cycles.show(time),
    }
}

fn signed(time: f64, times: Times) -> String {
    let sign = if time < 0.0 { '-' } else { '+' };
    format!("{sign}{}", show(time.abs(), times))
}

/// The change from `a` to `b`.
fn factor(a: Option<f64>, b: Option<f64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a > 0.0 => change(b / a),
        (Some(_), Some(b)) if b > 0.0 => "new".into(),
        _ => "-".into(),
    }
}
