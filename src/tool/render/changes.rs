// SPDX-License-Identifier: GPL-2.0

//! The table of a comparison, and what it means in words.

use super::{
    cells::shown_as,
    grid::{Column, Rows, Value},
    sheet::{Shown, Times},
    units::{change, duration, percent},
    words,
};
use crate::{
    columns::{self, Kind, Meta},
    comparison::{self, Comparison, Pair, Side},
    continuity::Break,
    view,
};

const SIDES: [&str; 2] = ["a", "b"];

/// The table, of the first `top` reasons.
pub fn grid(comparison: &Comparison, top: usize) -> Rows<'_, Pair> {
    Rows {
        columns: columns(),
        rows: &comparison.rows[..comparison.rows.len().min(top)],
    }
}

/// The columns.
pub fn columns<'a>() -> Vec<Column<'a, Pair>> {
    let mut all = vec![
        Column::new(&columns::REASON, |pair: &Pair| pair.reason),
        Column::new(&columns::NAME, |pair: &Pair| pair.name.clone()),
    ];
    for (index, group) in SIDES.into_iter().enumerate() {
        let mut add = |meta: &'static Meta, value: fn(&Side) -> Value| {
            let value = move |pair: &Pair| value(pair.side(index));
            all.push(Column::new(meta, value).of(group));
        };
        add(&columns::EXITS, |side| side.exits.into());
        add(&columns::CYCLES, |side| side.cycles.into());
        add(&columns::RATE, |side| side.exits_per_second.into());
        add(&columns::EXITS_PERCENT, |side| side.exits_percent.into());
        add(&columns::TIME_PERCENT, |side| side.time_percent.into());
        add(&columns::DIFF_AVG, |side| side.avg.into());
        add(&columns::DIFF_TIME, |side| side.time.into());
        add(&columns::UNTIMED, |side| side.untimed.into());
    }
    all.extend([
        Column::new(&columns::EXITS_CHANGE, Pair::exits_change),
        Column::new(&columns::AVG_CHANGE, Pair::avg_change),
        Column::new(&columns::TIME_CHANGE, Pair::time_change),
    ]);
    all
}

/// The columns for people.
pub fn shown(comparison: &Comparison) -> Vec<Shown> {
    let heads = columns();
    let at = |meta: &Meta, group: Option<usize>| {
        let group = group.map(|index| SIDES[index]);
        let mut all = heads.iter().map(Column::head);
        all.position(|head| head.meta == meta && head.group.as_deref() == group)
    };
    let column = |meta: &Meta, group: Option<usize>, label: &str, over: &str, need| {
        at(meta, group).map(|column| Shown {
            column,
            label: label.into(),
            over: over.into(),
            need,
        })
    };
    let (exits, exits_label, time_label) = match comparison.is_per_second() {
        true => (&columns::RATE, "Exits/s", "Time/s"),
        false => (&columns::EXITS, "Exits", "Time"),
    };
    let side = |index: usize| SIDES[index].to_uppercase();
    let all = [column(&columns::NAME, None, "Reason", "", u8::MAX)]
        .into_iter()
        .chain((0..2).map(|n| column(exits, Some(n), &side(n), exits_label, u8::MAX)))
        .chain([column(
            &columns::EXITS_CHANGE,
            None,
            "Change",
            exits_label,
            30,
        )])
        .chain((0..2).map(|n| column(&columns::DIFF_AVG, Some(n), &side(n), "Avg", 20)))
        .chain([column(&columns::AVG_CHANGE, None, "Change", "Avg", 25)])
        .chain([column(
            &columns::TIME_CHANGE,
            None,
            "Change",
            time_label,
            40,
        )]);
    all.flatten().collect()
}

/// The unit of its times.
pub fn times(comparison: &Comparison) -> Times {
    match comparison.times {
        comparison::Times::Ns => Times::Nanoseconds,
        comparison::Times::Cycles => Times::Of(super::units::Unit::Cycles),
    }
}

/// Says how long both counted, and whether B continues A.
pub fn title(comparison: &Comparison) -> Vec<String> {
    let lasted = |seconds: Option<f64>| seconds.map_or("an unknown time".into(), duration);
    let [a, b] = [comparison.seconds_a, comparison.seconds_b].map(lasted);
    let mut lines = match comparison.separate {
        None => vec![format!("A: {a}; B: what was added since, in {b}")],
        Some(Break::Period) => vec![format!("A: {a}; B: {b}")],
        Some(why) => vec![
            format!("A: {a}; B: {b}"),
            format!("B does not continue A: {why}"),
        ],
    };
    if comparison.presumed {
        let why = "Presumed, because no counter is lower: a recording does not say what it counts";
        lines.push(why.into());
    }
    lines
}

/// Sums of all reasons, which exits of the first `top` were not timed, and what changed most.
pub fn notes(comparison: &Comparison, top: usize) -> Vec<String> {
    let is_per_second = comparison.is_per_second();
    let per = if is_per_second { "/s" } else { "" };
    let sum =
        |of: &dyn Fn(&Pair) -> f64| comparison.rows.iter().map(of).fold(0.0, |sum, n| sum + n);
    let show = |time: f64| shown_as(&Value::Real(time), Kind::Time, times(comparison));
    let told = |values: [f64; 2], show: &dyn Fn(f64) -> String| {
        let [a, b] = values.map(show);
        let change = change(view::change(values[0], values[1]));
        format!("{a}, then {b} ({change})")
    };
    let exits = [0, 1].map(|n| sum(&|pair| pair.side(n).rate()));
    let digits = if is_per_second { 1 } else { 0 };
    let all = told(exits, &|n| format!("{n:.digits$}"));
    let mut lines = vec![words::label(&format!("Exits{per}"), all)];

    let time = [0, 1].map(|n| sum(&|pair| pair.side(n).time.unwrap_or(0.0)));
    let all = match time.contains(&0.0) {
        true => "unknown, because a recording has no times".into(),
        false => told(time, &show),
    };
    lines.push(words::label(&format!("Time{per}"), all));
    let first = comparison.rows.iter();
    let changed = first.filter_map(|pair| Some((pair.time_change()?, &pair.name)));
    let most = changed.max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()));
    if let Some((change, name)) = most.filter(|(change, _)| *change != 0.0) {
        let change = shown_as(&Value::Real(change), Kind::TimeChange, times(comparison));
        lines.push(words::label("Changed most", format!("{name}: {change}")));
    }

    let rows = comparison.rows.iter().take(top);
    let untimed: Vec<String> = rows.filter_map(untimed).collect();
    lines.extend(words::listing("Not timed", &untimed));
    lines
}

/// The share of a reason's exits that were not timed, if there are any.
fn untimed(pair: &Pair) -> Option<String> {
    let part = |side: &Side| {
        let part = side.untimed.and_then(|n| view::percent(n, side.exits));
        part.map_or("-".into(), |part| percent(part / 100.0))
    };
    let some = |side: &Side| side.untimed.is_some_and(|n| n > 0);
    let sides = || (0..2).map(|index| pair.side(index));
    let parts: Vec<String> = sides().map(part).collect();
    (sides().any(some)).then(|| format!("{} {}", pair.name, parts.join(", then ")))
}
