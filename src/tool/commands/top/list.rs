// SPDX-License-Identifier: GPL-2.0

//! The list of rows on the screen.

use super::state::{LiveRow, Order, State};
use crate::{
    columns::{self, Meta},
    render::{
        rows, table,
        units::{self, Unit},
    },
    select::{By, Sort},
};
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::{Style, Stylize},
    text::Text,
    widgets::{Paragraph, Row, Table, TableState},
};

const SHORTEST_BAR: usize = 4;
const LONGEST_BAR: usize = 20;
const TOTAL: &str = "total";
/// Below that many lines, rows are more needed than their total.
const LOWEST_WITH_TOTAL: u16 = 5;

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

/// What is where.
struct Layout {
    /// The heading of the names.
    head: &'static str,
    /// Of each row.
    names: Vec<String>,
    /// The width of names.
    name: usize,
    columns: Vec<&'static Column>,
    /// The width of bars.
    bar: usize,
}

impl Layout {
    /// Of the list in so many columns of the terminal.
    fn new(state: &State, width: usize) -> Layout {
        let since = state.rows.iter().map(|row| &row.since);
        let names = rows::names(since.clone());
        let named = names.into_iter().zip(rows::owners(since)).zip(&state.rows);
        let names: Vec<String> = named
            .map(|((name, owner), row)| {
                let (first, last) = match row.since.owner {
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
            by => rows::heading(by),
        };
        let widest = names.iter().map(|name| name.chars().count()).max();
        let name = widest.unwrap_or(0).max(head.len());
        let columns = columns_for(&state.rows, width.saturating_sub(name));
        let used: usize = name + columns.iter().map(|column| column.width + 1).sum::<usize>();
        let bar = width.saturating_sub(used + 1).min(LONGEST_BAR);
        Layout {
            head,
            names,
            name,
            columns,
            bar: if bar < SHORTEST_BAR { 0 } else { bar },
        }
    }

    fn cells(&self, row: &LiveRow, unit: Unit) -> impl Iterator<Item = String> {
        let cell = |column: &&Column| (column.cell)(row, unit).unwrap_or("-".into());
        self.columns
            .iter()
            .map(cell)
            .collect::<Vec<_>>()
            .into_iter()
    }

    fn bar(&self, row: &LiveRow, order: Order) -> String {
        let part = match order {
            Order::By(Sort::Time) => row.since.time_percent,
            _ => row.since.exits_percent,
        };
        table::bar(part, self.bar)
    }
}

/// What there is in place of rows, if there are none.
fn instead(state: &State) -> Option<&'static str> {
    state.rows.is_empty().then(|| match state.interval() {
        Some(_) if !state.filter.is_empty() => "No such rows since the baseline.",
        Some(_) => "No exits since the baseline.",
        None => "Waiting for a second reading.",
    })
}

/// The list as lines of text, of any number of rows.
pub fn lines(state: &State, unit: Unit, width: usize) -> Vec<String> {
    if let Some(text) = instead(state) {
        return vec![text.into()];
    }
    let layout = Layout::new(state, width);
    let line = |name: &str, cells: &mut dyn Iterator<Item = String>, bar: String| {
        let mut line = format!("{name:<0$}", layout.name);
        for (cell, column) in cells.zip(&layout.columns) {
            line += &format!(" {cell:>0$}", column.width);
        }
        format!("{line} {bar}").trim_end().to_owned()
    };
    let mut heads = layout.columns.iter().map(|c| c.meta.label.into());
    let mut lines = vec![line(layout.head, &mut heads, String::new())];
    for (row, name) in state.rows.iter().zip(&layout.names) {
        let bar = layout.bar(row, state.order);
        lines.push(line(name, &mut layout.cells(row, unit), bar));
    }
    if state.rows.len() > 1 {
        let mut total = layout.cells(&state.sum, unit);
        lines.push(line(TOTAL, &mut total, String::new()));
    }
    lines
}

/// Draws the list.
pub fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, unit: Unit) {
    if let Some(text) = instead(state) {
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let layout = Layout::new(state, area.width.into());
    let right = |text: String| Text::from(text).alignment(Alignment::Right);
    let marked = |head: Text<'static>, order| match order == Some(state.order) {
        true => head.reversed(),
        false => head,
    };
    let heads = layout.columns.iter();
    let heads = heads.map(|column| marked(right(column.meta.label.into()), column.order));
    let header = [marked(layout.head.into(), Some(Order::By(Sort::Reason)))]
        .into_iter()
        .chain(heads);
    let line = |row: &LiveRow, name: &str, bar: String| {
        let cells = layout.cells(row, unit).map(right);
        let bar = (layout.bar > 0).then(|| Text::from(bar).cyan());
        Row::new(
            [Text::from(name.to_owned())]
                .into_iter()
                .chain(cells)
                .chain(bar),
        )
    };
    let has_total = area.height >= LOWEST_WITH_TOTAL && state.rows.len() > 1;
    // Below the heading. The row of the cursor is always visible.
    let taken = 1 + u16::from(has_total);
    let height = usize::from(area.height.saturating_sub(taken)).max(1);
    let cursor = state.cursor();
    let first = (cursor + 1).saturating_sub(height);
    let all = state.rows.iter().zip(&layout.names);
    let visible = all.skip(first).take(height);
    let rows = visible.map(|(row, name)| line(row, name, layout.bar(row, state.order)));
    let rows: Vec<Row<'_>> = rows.collect();
    // The total is below the last row, not at the bottom of the screen.
    let used = u16::try_from(rows.len()).map_or(area.height, |rows| rows.saturating_add(taken));
    let area = Rect {
        height: used.min(area.height),
        ..area
    };
    let widths = [layout.name]
        .into_iter()
        .chain(layout.columns.iter().map(|column| column.width))
        .chain((layout.bar > 0).then_some(layout.bar));
    let mut table = Table::new(rows, widths.map(|width| Constraint::Length(width as u16)))
        .header(Row::new(header).bold())
        .row_highlight_style(Style::new().reversed());
    if has_total {
        table = table.footer(line(&state.sum, TOTAL, String::new()).bold());
    }
    let mut cursor = TableState::new().with_selected(cursor - first);
    frame.render_stateful_widget(table, area, &mut cursor);
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
