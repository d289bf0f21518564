// SPDX-License-Identifier: GPL-2.0

//! Draws the screen, at any size.

use super::state::{LiveRow, Order, Overlay, State};
use crate::{
    reasons,
    render::{
        buckets::Histogram,
        rows, table,
        units::{self, Unit},
        words,
    },
    select::Key,
};
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Paragraph, Row, Table, TableState, Wrap},
};
use std::time::Duration;

const SHORTEST_BAR: usize = 4;
const LONGEST_BAR: usize = 20;
/// The most lines of a message.
const MESSAGE: usize = 3;

const KEYS: &str = "\
s >        sort by the next column
<          sort by the previous column
r          reverse the order
v          switch to VMs, to vCPUs, or back to reasons
Up Down    select a row, or scroll (also k j, PgUp PgDn, Home End)
Enter      on a VM or vCPU: show its reasons; on a reason: show the
           histogram of its times
Esc        go back; quit if there is nothing to go back to
b          set the baseline to now: Exits and the columns to its right
           count from the baseline
p Space    pause, or go on
Ctrl-Z     stop; the shell's fg goes on
?          show or hide this help
q Ctrl-C   quit";

/// What the screen shows besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The time between two readings.
    pub delay: Duration,
    /// Whether to show cycles, even if the TSC's frequency is known.
    pub cycles: bool,
}

/// A column: the order that marks it, its heading, its width, and its cells.
struct Column {
    order: Option<Order>,
    head: &'static str,
    width: usize,
    cell: fn(&LiveRow, Unit) -> Option<String>,
}

/// From left to right. The first is always shown.
const COLUMNS: [Column; 8] = [
    Column {
        order: Some(Order::Rate),
        head: "Exits/s",
        width: 9,
        cell: |row, _| row.rate.map(|rate| units::rate(rate, 9)),
    },
    Column {
        order: Some(Order::Exits),
        head: "Exits",
        width: 7,
        cell: |row, _| Some(units::count(row.since.exits as f64, 7)),
    },
    Column {
        order: None,
        head: "Exits%",
        width: 8,
        cell: |row, _| share(row.since.exits_percent),
    },
    Column {
        order: Some(Order::Time),
        head: "Time%",
        width: 6,
        cell: |row, _| share(row.since.time_percent),
    },
    Column {
        order: Some(Order::Avg),
        head: "Avg",
        width: 6,
        cell: |row, unit| row.since.avg.map(|cycles| unit.show(cycles)),
    },
    Column {
        order: Some(Order::P99),
        head: "p99",
        width: 6,
        cell: |row, unit| row.since.p99.map(|cycles| unit.show(cycles as f64)),
    },
    Column {
        order: Some(Order::Max),
        head: "Max",
        width: 6,
        cell: |row, unit| row.since.max.map(|cycles| unit.show(cycles as f64)),
    },
    Column {
        order: Some(Order::Min),
        head: "Min",
        width: 6,
        cell: |row, unit| row.since.min.map(|cycles| unit.show(cycles as f64)),
    },
];

/// The columns to leave out if there is no room, in this order.
const LEAST_NEEDED: [&str; 7] = ["Min", "Max", "p99", "Exits%", "Time%", "Avg", "Exits"];

/// Draws everything.
pub fn draw(frame: &mut Frame, state: &State, settings: Settings) {
    let message = state.error.as_ref().or(state.notice.as_ref());
    let width = usize::from(frame.area().width).max(1);
    // Wrapping leaves lines shorter than the screen: count on three quarters.
    let lines = message.map_or(0, |text| text.len().div_ceil(width - width / 4));
    let [head, status, told, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(lines.min(MESSAGE) as u16),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());

    let unit = Unit::new(state.now().tsc_khz, settings.cycles);
    frame.render_widget(Line::from(title(state, unit)).bold(), head);
    frame.render_widget(Line::from(status_line(state, settings)), status);
    if let Some(message) = message {
        let style = match state.error {
            Some(_) => Style::new().red(),
            None => Style::new().yellow(),
        };
        let paragraph = Paragraph::new(message.as_str()).wrap(Wrap { trim: true });
        frame.render_widget(paragraph.style(style), told);
    }
    match &state.overlay {
        None => list(frame, body, state, unit),
        Some(Overlay::Help) => scrolled(frame, body, state, Text::raw(KEYS)),
        Some(Overlay::Histogram(key)) => {
            let lines = histogram(state, key, unit, body.width.into());
            scrolled(frame, body, state, Text::from(lines));
        }
    }
    let keys = "? help  q quit  s sort  v VMs  Enter open  Esc back  b baseline  p pause";
    frame.render_widget(Line::from(keys).dim(), foot);
}

/// Draws a text, scrolled at most to its end.
fn scrolled(frame: &mut Frame<'_>, area: Rect, state: &State, text: Text<'_>) {
    let most = text.lines.len().saturating_sub(area.height.into());
    let scroll = u16::try_from(state.scroll.min(most)).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(text).scroll((scroll, 0)), area);
}

fn title(state: &State, unit: Unit) -> String {
    let isa = reasons::set_name(state.now().isa);
    let what = words::head(state.now(), state.selection(), unit);
    format!("{isa}: {what}")
}

/// The current rate, and how the screen is updated.
fn status_line(state: &State, settings: Settings) -> String {
    let mut parts = Vec::new();
    if state.paused {
        parts.push("PAUSED".into());
    }
    match state.total {
        Some((exits, cycles)) => {
            parts.push(format!("{} exits/s", units::rate(exits, 9)));
            let interval = state.interval();
            if let Some(share) = interval.and_then(|interval| interval.cpu_share(cycles)) {
                let cpus = state.now().cpus.unwrap_or(0);
                let cpus = units::counted(cpus, "CPU", "CPUs");
                parts.push(format!("{} of {cpus}", units::percent(share)));
            }
        }
        None => parts.push("- exits/s".into()),
    }
    parts.push(format!("every {} s", settings.delay.as_secs_f64()));
    let since = state.since().seconds().unwrap_or(0.0);
    parts.push(format!("baseline {} ago", units::duration(since)));
    if state.now().recording == Some(false) {
        parts.push("recording is off".into());
    }
    parts.join("; ")
}

fn list(frame: &mut Frame, area: Rect, state: &State, unit: Unit) {
    if state.rows.is_empty() {
        let text = match state.interval() {
            Some(_) => "No exits since the baseline.",
            None => "Waiting for a second reading.",
        };
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let names = rows::names(state.rows.iter().map(|row| &row.since));
    let head = rows::heading(state.selection().by);
    let widest = names.iter().map(|name| name.chars().count()).max();
    let name = widest.unwrap_or(0).max(head.len());

    let width = usize::from(area.width);
    let columns = columns_for(&state.rows, width.saturating_sub(name));
    let used: usize = name + columns.iter().map(|column| column.width + 1).sum::<usize>();
    let bar = width.saturating_sub(used + 1).min(LONGEST_BAR);
    let bar = if bar < SHORTEST_BAR { 0 } else { bar };

    let right = |text: String| Text::from(text).alignment(Alignment::Right);
    let marked = |head: Text<'static>, order| match order == Some(state.order) {
        true => head.reversed(),
        false => head,
    };
    let heads = columns
        .iter()
        .map(|column| marked(right(column.head.into()), column.order));
    let header = [marked(head.into(), Some(Order::Reason))]
        .into_iter()
        .chain(heads);
    // Below the heading. The row of the cursor is always visible.
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let cursor = state.cursor();
    let first = (cursor + 1).saturating_sub(height);
    let visible = state.rows.iter().zip(names).skip(first).take(height);
    let rows = visible.map(|(row, name)| {
        let cells = columns
            .iter()
            .map(|column| right((column.cell)(row, unit).unwrap_or("-".into())));
        let part = match state.order {
            Order::Time => row.since.time_percent,
            _ => row.since.exits_percent,
        };
        let bar = (bar > 0).then(|| Text::from(table::bar(part, bar)).cyan());
        let cells = [Text::from(name)].into_iter().chain(cells).chain(bar);
        Row::new(cells)
    });
    let widths = [name]
        .into_iter()
        .chain(columns.iter().map(|column| column.width))
        .chain((bar > 0).then_some(bar));
    let table = Table::new(rows, widths.map(|width| Constraint::Length(width as u16)))
        .header(Row::new(header).bold())
        .row_highlight_style(Style::new().reversed());
    let mut cursor = TableState::new().with_selected(cursor - first);
    frame.render_stateful_widget(table, area, &mut cursor);
}

/// The columns that fit and have something to show.
fn columns_for(rows: &[LiveRow], room: usize) -> Vec<&'static Column> {
    let mut columns: Vec<&Column> = COLUMNS.iter().collect();
    let has = |column: &&Column| {
        let cell = |row| (column.cell)(row, Unit::Cycles).is_some();
        rows.iter().any(cell) || column.head == COLUMNS[0].head
    };
    columns.retain(has);
    let mut dispensable = LEAST_NEEDED.iter();
    while columns.iter().map(|column| column.width + 1).sum::<usize>() > room {
        let Some(least) = dispensable.next() else {
            break;
        };
        columns.retain(|column| column.head != *least);
    }
    columns
}

/// The lines of a reason's histogram.
fn histogram(state: &State, key: &Key, unit: Unit, width: usize) -> Vec<Line<'static>> {
    let name = Line::from(format!("{} since the baseline", key.name)).bold();
    let found = match state.histogram(key) {
        Ok(row) => Histogram::of(row, unit, width).ok_or("None of its exits was timed."),
        Err(why) => Err(why),
    };
    let histogram = match found {
        Ok(histogram) => histogram,
        Err(why) => return vec![name, Line::from(why)],
    };
    let buckets = histogram.buckets.into_iter();
    let buckets =
        buckets.map(|(figures, bar)| Line::from_iter([(figures + " ").into(), bar.cyan()]));
    let summary = histogram.summary.into_iter().map(Line::from);
    [name]
        .into_iter()
        .chain(summary)
        .chain([Line::from(histogram.head).bold()])
        .chain(buckets)
        .collect()
}

fn share(part: Option<f64>) -> Option<String> {
    part.map(|part| units::percent(part / 100.0))
}
