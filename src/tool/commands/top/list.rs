// SPDX-License-Identifier: GPL-2.0

//! The list of exits on the screen.

use super::{
    listing::{Entry, Head, Listing},
    state::{LiveRow, Order, State},
};
use crate::{
    columns::{self, Meta},
    render::{
        rows, table,
        units::{self, Unit},
    },
    select::{By, Sort},
};
use ratatui::{style::Stylize, text::Line};

const SHORTEST_BAR: usize = 4;
const LONGEST_BAR: usize = 20;
pub(super) const TOTAL: &str = "total";

/// A column: what it is, the order that marks it, its width, and its cells.
struct Column {
    meta: &'static Meta,
    order: Option<Order>,
    width: usize,
    cell: fn(&LiveRow, Unit) -> Option<String>,
}

const fn column(
    meta: &'static Meta,
    order: Option<Order>,
    width: usize,
    cell: fn(&LiveRow, Unit) -> Option<String>,
) -> Column {
    Column {
        meta,
        order,
        width,
        cell,
    }
}

/// From left to right. The first is always shown.
const COLUMNS: [Column; 9] = [
    column(&columns::RATE, Some(Order::Rate), 8, |row, _| {
        row.rate.map(|rate| units::rate(rate, 8))
    }),
    column(
        &columns::EXITS,
        Some(Order::By(Sort::Exits)),
        7,
        |row, _| Some(units::count(row.since.exits as f64, 7)),
    ),
    column(&columns::EXITS_PERCENT, None, 6, |row, _| {
        share(row.since.exits_percent)
    }),
    column(
        &columns::TIME_PERCENT,
        Some(Order::By(Sort::Time)),
        6,
        |row, _| share(row.since.time_percent),
    ),
    column(&columns::AVG, Some(Order::By(Sort::Avg)), 6, |row, unit| {
        row.since.avg.map(|cycles| unit.show(cycles))
    }),
    column(&columns::P90, Some(Order::By(Sort::P90)), 6, |row, unit| {
        row.since.p90.map(|cycles| unit.show(cycles as f64))
    }),
    column(&columns::P99, Some(Order::By(Sort::P99)), 6, |row, unit| {
        row.since.p99.map(|cycles| unit.show(cycles as f64))
    }),
    column(&columns::MAX, Some(Order::By(Sort::Max)), 6, |row, unit| {
        row.since.max.map(|cycles| unit.show(cycles as f64))
    }),
    column(&columns::MIN, Some(Order::By(Sort::Min)), 6, |row, unit| {
        row.since.min.map(|cycles| unit.show(cycles as f64))
    }),
];

/// The columns to leave out if there is no room, in this order.
const LEAST_NEEDED: [&Meta; 8] = [
    &columns::P90,
    &columns::MIN,
    &columns::MAX,
    &columns::P99,
    &columns::EXITS_PERCENT,
    &columns::TIME_PERCENT,
    &columns::AVG,
    &columns::EXITS,
];

/// What there is in place of rows, if there are none.
pub fn instead(state: &State) -> Option<&'static str> {
    state.rows.is_empty().then(|| match state.interval() {
        Some(_) if !state.filter.is_empty() => "No such rows since the baseline.",
        Some(_) => "No exits since the baseline.",
        None => "Waiting for a second reading.",
    })
}

/// The list in so many columns of the terminal.
pub fn listing(state: &State, unit: Unit, width: usize) -> Listing {
    let is_of_one_reason = matches!(state.selection().reasons.as_slice(), [_]);
    let since = state.rows.iter().map(|row| &row.since);
    let named = rows::names(since.clone()).into_iter();
    let named = named.zip(rows::owners(since)).zip(&state.rows);
    let names: Vec<String> = named
        .map(|((name, owner), row)| {
            let (name, owner) = match row.since.what {
                None => (name, owner),
                Some(_) => {
                    let owner = row.since.owner.as_deref().unwrap_or("");
                    (rows::label(&row.since.name), rows::label(owner))
                }
            };
            let (first, last) = match row.since.owner {
                Some(_) if state.selection().by == By::Detail && is_of_one_reason => (name, None),
                None => (name, None),
                Some(_) => (owner, Some(name)),
            };
            let vm = row.since.vm_name.as_deref().map(rows::shortened);
            let words = [Some(first), vm, last].into_iter().flatten();
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let head = match state.selection().by {
        By::VmReason => "VM, reason",
        By::VcpuReason => "vCPU, reason",
        By::Detail if is_of_one_reason => "Detail",
        By::Detail => "Reason, detail",
        By::RipReason => "Code, reason",
        by => rows::heading(by),
    };
    let widest = names.iter().map(|name| name.chars().count()).max();
    let name = widest.unwrap_or(0).max(head.len());
    let columns = columns_for(&state.rows, width.saturating_sub(name));
    let used: usize = name + columns.iter().map(|column| column.width + 1).sum::<usize>();
    let bar = width.saturating_sub(used + 1).min(LONGEST_BAR);
    let bar = if bar < SHORTEST_BAR { 0 } else { bar };
    let entry = |name: String, row: &LiveRow, bar: String| Entry {
        name,
        cells: columns
            .iter()
            .map(|column| (column.cell)(row, unit).unwrap_or("-".into()))
            .collect(),
        bar: Line::from(bar.cyan()),
    };
    let part = |row: &LiveRow| match state.order {
        Order::By(Sort::Time) => row.since.time_percent,
        _ => row.since.exits_percent,
    };
    let head = Head {
        label: head,
        width: name,
        is_order: state.order == Order::By(Sort::Reason),
    };
    let heads = columns.iter().map(|column| Head {
        label: column.meta.label,
        width: column.width,
        is_order: column.order == Some(state.order),
    });
    let rows = names.into_iter().zip(&state.rows);
    Listing {
        heads: [head].into_iter().chain(heads).collect(),
        rows: rows
            .map(|(name, row)| entry(name, row, table::bar(part(row), bar)))
            .collect(),
        total: (state.rows.len() > 1).then(|| entry(TOTAL.into(), &state.sum, String::new())),
        bar,
    }
}

/// The columns that fit and have something to show.
fn columns_for(rows: &[LiveRow], room: usize) -> Vec<&'static Column> {
    let mut columns: Vec<&Column> = COLUMNS.iter().collect();
    let has = |column: &&Column| {
        let cell = |row| (column.cell)(row, Unit::Cycles).is_some();
        rows.iter().any(cell) || column.meta == COLUMNS[0].meta
    };
    columns.retain(has);
    let mut dispensable = LEAST_NEEDED.iter();
    while columns.iter().map(|column| column.width + 1).sum::<usize>() > room {
        let Some(least) = dispensable.next() else {
            break;
        };
        columns.retain(|column| column.meta != *least);
    }
    columns
}

fn share(part: Option<f64>) -> Option<String> {
    part.map(|part| units::percent(part / 100.0))
}
