// SPDX-License-Identifier: GPL-2.0

//! Tables, as wide as the terminal allows.

use super::units::{self, Unit};
use crate::{
    select::{By, Selection, Sort},
    view::{Row, View},
};
use anstyle::{AnsiColor, Style};
use std::{
    collections::HashMap,
    env,
    io::{self, IsTerminal, Write},
};

const HEAD: Style = Style::new().bold();
const BAR: Style = AnsiColor::Cyan.on_default();
/// The longest name of a VMX reason.
const NAME: usize = 19;
/// What to leave out below 80 columns, in this order.
const LEAST_NEEDED: [&str; 5] = ["Min", "Max", "Exits%", "Time%", "Avg"];
const SHORTEST_BAR: usize = 5;
const LONGEST_BAR: usize = 20;

/// The width that COLUMNS asks for, or that of the terminal; 80 without a terminal.
pub fn width() -> usize {
    let asked = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    if let Some(columns @ 1..) = asked {
        return columns;
    }
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return 80;
    }
    rustix::termios::tcgetwinsize(&stdout).map_or(80, |size| match size.ws_col {
        0 => 80,
        columns => columns.into(),
    })
}

/// A column.
pub struct Column {
    head: &'static str,
    cells: Vec<String>,
    left: bool,
    style: Style,
}

impl Column {
    /// A column whose cells are aligned to the right.
    pub fn new(head: &'static str, cells: impl Iterator<Item = String>) -> Column {
        Column {
            head,
            cells: cells.collect(),
            left: false,
            style: Style::new(),
        }
    }

    /// Aligns its cells to the left.
    pub fn left(self) -> Column {
        Column { left: true, ..self }
    }

    fn styled(self, style: Style) -> Column {
        Column { style, ..self }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(self.head.len())
    }
}

/// Prints columns, with a blank between them and no blanks at the ends of lines.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn print(columns: &[Column], out: &mut impl Write) -> io::Result<()> {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let mut line = |cells: &dyn Fn(&Column) -> (String, Style)| {
        let mut text = String::new();
        let mut owed = 0;
        for (column, &width) in columns.iter().zip(&widths) {
            let (cell, style) = cells(column);
            let room = width - cell.chars().count();
            let (before, after) = if column.left { (0, room) } else { (room, 0) };
            if !cell.is_empty() {
                text += &" ".repeat(owed + before);
                text += &format!("{style}{cell}{style:#}");
                owed = after + 1;
            } else {
                owed += width + 1;
            }
        }
        writeln!(out, "{text}")
    };
    line(&|column| (column.head.into(), HEAD))?;
    for row in 0..rows {
        line(&|column| (column.cells[row].clone(), column.style))?;
    }
    Ok(())
}

/// Prints a view in `width` columns. If there is no room, p50 is left out first, then p99, the
/// bars, and the columns named in [`LEAST_NEEDED`].
///
/// # Errors
///
/// If `out` cannot be written.
pub fn view(
    view: &View,
    selection: &Selection,
    unit: Unit,
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let rows = view.shown();
    if rows.is_empty() {
        return writeln!(out, "No exits.");
    }
    let column = |head, cell: &dyn Fn(&Row) -> String| Column::new(head, rows.iter().map(cell));
    let cycles = |cell: fn(&Row) -> Option<f64>| {
        move |row: &Row| cell(row).map_or("-".into(), |cycles| unit.show(cycles))
    };
    let share = |percent: Option<f64>| percent.map_or("-".into(), |p| units::percent(p / 100.0));

    let mut columns = vec![
        Column::new(heading(selection.by), names(rows.iter()).into_iter()).left(),
        column("Exits", &|row| units::count(row.exits as f64, 8)),
        column("Exits%", &|row| share(row.exits_percent)),
        column("Time%", &|row| share(row.time_percent)),
        column("Min", &cycles(|row| row.min.map(|n| n as f64))),
        column("Max", &cycles(|row| row.max.map(|n| n as f64))),
        column("Avg", &cycles(|row| row.avg)),
    ];
    let spread = rows.iter().any(|row| row.p50.is_some());
    let p50 = column("p50", &cycles(|row| row.p50.map(|n| n as f64)));
    let p99 = column("p99", &cycles(|row| row.p99.map(|n| n as f64)));

    let used = |columns: &[Column]| columns.iter().map(|c| c.width() + 1).sum::<usize>();
    for least in LEAST_NEEDED {
        // No blank is needed after the last.
        if used(&columns) <= width + 1 {
            break;
        }
        columns.retain(|column| column.head != least);
    }
    let room = width.saturating_sub(used(&columns));
    let bar = SHORTEST_BAR.min(room);
    let (wide50, wide99) = (p50.width() + 1, p99.width() + 1);
    let has99 = spread && room >= bar + wide99;
    let has50 = has99 && room >= bar + wide99 + wide50;
    if has50 {
        columns.push(p50);
    }
    if has99 {
        columns.push(p99);
    }
    let bar = width.saturating_sub(used(&columns)).min(LONGEST_BAR);
    if bar >= SHORTEST_BAR {
        let by_time = selection.sort == Sort::Time;
        let of = |row: &Row| match by_time {
            true => row.time_percent,
            false => row.exits_percent,
        };
        let bars = column("", &|row| self::bar(of(row), bar));
        columns.push(bars.left().styled(BAR));
    }
    print(&columns, out)
}

/// The heading of the column of names.
pub fn heading(by: By) -> &'static str {
    match by {
        By::Reason => "Reason",
        By::Vm => "VM",
        By::Vcpu => "vCPU",
    }
}

/// A bar for a share in percent, of at most `width` characters.
pub fn bar(percent: Option<f64>, width: usize) -> String {
    let length = percent.unwrap_or(0.0) / 100.0 * width as f64;
    "#".repeat((length.round() as usize).min(width))
}

/// The names of rows, shortened. If vCPUs have the same name, the first digits of their
/// identities tell them apart.
pub fn names<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for row in rows.clone().filter(|row| row.id.is_some()) {
        *seen.entry(&row.name).or_default() += 1;
    }
    let name = |row: &Row| match row.id {
        Some(id) if seen.get(row.name.as_str()) > Some(&1) => {
            shortened(&format!("{} #{:.4}", row.name, id.to_string()))
        }
        _ => shortened(&row.name),
    };
    rows.map(name).collect()
}

/// A name, without its middle if it is too long.
pub fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.into();
    }
    let start: String = name.chars().take(NAME - 8).collect();
    let end: String = name.chars().skip(name.chars().count() - 6).collect();
    format!("{start}..{end}")
}
