// SPDX-License-Identifier: GPL-2.0

//! Exits and their time: two bars for each row of a view, or more to compare.

use super::{
    Picture,
    axis::Quantity,
    chart::{
        Chart,
        bars::{Bars, Panel},
    },
    names,
};
use crate::{
    comparison::{Comparison, Pair, Side, Times},
    render::units::{self, Unit},
    snapshot::TimeOf,
    view::{Row, View, change, percent},
};

/// How many rows there are, unless people ask for another number.
const FEW: usize = 20;

/// The exits and the time of each row. Those for which there is no room are one.
pub fn of_view(view: &View, unit: Unit, time_of: TimeOf) -> Picture {
    let shown = shown(view.rows.len(), view.top);
    let (rows, others) = view.rows.split_at(shown);
    let sum = |figure: fn(&Row) -> u128| others.iter().map(figure).sum::<u128>();
    let rest = Row {
        exits: sum(|row| row.exits),
        cycles: sum(|row| row.cycles),
        exits_percent: percent(sum(|row| row.exits), view.total.exits),
        time_percent: percent(sum(|row| row.cycles), view.total.cycles),
        ..Row::default()
    };
    let all = || rows.iter().chain((!others.is_empty()).then_some(&rest));
    let exits = all().map(|row| {
        let said = units::grouped(row.exits);
        vec![(Some(row.exits as f64), with_share(said, row.exits_percent))]
    });
    let time = all().map(|row| {
        if row.exits > 0 && row.cycles == 0 && row.avg.is_none() {
            return vec![(None, "not timed".into())];
        }
        let said = unit.show(row.cycles as f64);
        vec![(
            Some(in_unit(row.cycles, unit)),
            with_share(said, row.time_percent),
        )]
    });
    let (quantity, heading) = names::of_time(unit, time_of);
    let chart = Bars {
        names: with_others(names::of_rows(rows), others.len()),
        has_others: !others.is_empty(),
        panels: vec![
            panel("Exits", Quantity::Exits, exits),
            panel(&heading, quantity, time),
        ],
        sides: Vec::new(),
    };
    Picture::new(title(time_of), Chart::Bars(chart))
}

/// The exits and the time of each row in the first and the last snapshot.
pub fn of_comparison(comparison: &Comparison, top: usize) -> Picture {
    let pairs = &comparison.rows[..shown(comparison.rows.len(), top)];
    let last = comparison.parts.len() - 1;
    let ends = |pair: &Pair| [0, last].map(|index| *pair.side(index));
    let (exits, time) = match comparison.per_second {
        true => (Quantity::Rate, " per second"),
        false => (Quantity::Exits, ""),
    };
    let (unit, what) = match comparison.times {
        Times::Ns => (Quantity::Time, "Time"),
        Times::Cycles => (Quantity::Cycles, "Cycles"),
    };
    let measured = names::measured(comparison.time_of());
    let bars = |pair: &Pair, quantity: Quantity, figure: fn(&Side) -> Option<f64>| {
        let [a, b] = ends(pair).map(|side| figure(&side));
        let said = |number: Option<f64>| number.map_or("not timed".into(), |n| quantity.say(n));
        let changed = a
            .zip(b)
            .map(|(a, b)| format!(" ({})", units::change(change(a, b))));
        vec![(a, said(a)), (b, said(b) + &changed.unwrap_or_default())]
    };
    let chart = Bars {
        names: names::names(
            pairs
                .iter()
                .map(|pair| (&pair.key, pair.vm_name.as_deref())),
        ),
        has_others: false,
        panels: vec![
            panel(
                &format!("Exits{time}"),
                exits,
                pairs
                    .iter()
                    .map(|pair| bars(pair, exits, |side| Some(side.rate()))),
            ),
            panel(
                &format!("{what} {measured}{time}"),
                unit,
                pairs.iter().map(|pair| bars(pair, unit, |side| side.time)),
            ),
        ],
        sides: ["A", "B"].map(String::from).to_vec(),
    };
    let mut picture = Picture::new(title(comparison.time_of()), Chart::Bars(chart));
    if let Some(more @ 1..) = comparison.rows.len().checked_sub(pairs.len()) {
        let words = units::counted(
            more as u64,
            "row that changed less",
            "rows that changed less",
        );
        picture.notes.push(format!("Not shown: {words}"));
    }
    picture
}

fn title(time_of: TimeOf) -> &'static str {
    match time_of {
        TimeOf::Handler => "VM exits, and the time that KVM takes to handle them",
        TimeOf::ExitToEntry => "VM exits, and the time from each to the next entry",
    }
}

/// How many of the rows there are to be.
fn shown(rows: usize, top: usize) -> usize {
    let most = if top == usize::MAX { FEW } else { top };
    // One row for one other would save nothing.
    if rows == most.saturating_add(1) {
        rows
    } else {
        rows.min(most)
    }
}

fn with_others(mut names: Vec<String>, others: usize) -> Vec<String> {
    if others > 0 {
        names.push(format!("{others} others"));
    }
    names
}

fn with_share(said: String, share: Option<f64>) -> String {
    let share = share.map(|share| format!(" ({})", units::percent(share / 100.0)));
    said + &share.unwrap_or_default()
}

/// Cycles in nanoseconds, or as they are.
pub fn in_unit(cycles: u128, unit: Unit) -> f64 {
    match unit {
        Unit::Cycles => cycles as f64,
        Unit::Time(khz) => cycles as f64 / f64::from(khz) * 1e6,
    }
}

fn panel(
    heading: &str,
    quantity: Quantity,
    rows: impl Iterator<Item = Vec<(Option<f64>, String)>>,
) -> Panel {
    Panel {
        heading: heading.into(),
        quantity,
        rows: rows.collect(),
    }
}
