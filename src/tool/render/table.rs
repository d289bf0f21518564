// SPDX-License-Identifier: GPL-2.0

//! Tables for people, as wide as the terminal allows.

use super::{
    cells::{Cells, Tone, cells},
    grid::Value,
    sheet::{Exporter, Sheet},
    units::LABEL,
    wrap,
};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::{
    env,
    io::{self, IsTerminal, Write},
};
use unicode_width::UnicodeWidthStr;

const HEAD: Style = Style::new().bold();
const BAR: Style = AnsiColor::Cyan.on_default();
const LESS: Style = AnsiColor::Green.on_default();
const MORE: Style = AnsiColor::Red.on_default();
const SHORTEST_BAR: usize = 5;
const LONGEST_BAR: usize = 20;
/// Bars are more needed than columns that are needed less.
const BAR_NEED: u8 = 20;

/// Writes tables.
#[derive(Debug)]
pub struct Table;

impl Exporter for Table {
    fn is_for_people(&self) -> bool {
        true
    }

    fn sheet(&mut self, sheet: &Sheet<'_>, out: &mut dyn Write) -> Result<()> {
        self.say(&sheet.title, out)?;
        if !sheet.title.is_empty() {
            writeln!(out)?;
        }
        let has_table = match (sheet.grid.is_empty(), sheet.instead) {
            (false, _) => {
                print(sheet, out)?;
                true
            }
            (true, Some(text)) => {
                writeln!(out, "{text}")?;
                true
            }
            (true, None) => false,
        };
        if has_table && !sheet.notes.is_empty() {
            writeln!(out)?;
        }
        self.say(&sheet.notes, out)
    }

    fn say(&mut self, lines: &[String], out: &mut dyn Write) -> Result<()> {
        let width = width();
        for line in lines.iter().flat_map(|text| text.split('\n')) {
            for part in wrapped(line, width) {
                writeln!(out, "{part}")?;
            }
        }
        Ok(())
    }

    fn block(&mut self, lines: &[String], out: &mut dyn Write) -> Result<()> {
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

/// A line in parts that fit, where that is possible. What follows a label stays to the right
/// of it.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let has_label = line.get(..LABEL).is_some_and(|label| label.ends_with("  "))
        && !line[LABEL..].starts_with(' ');
    let indent = match has_label && width >= 3 * LABEL {
        true => LABEL,
        false => 2,
    };
    // Blanks between labels and texts, and at the beginning, remain.
    let start = match has_label {
        true => LABEL,
        false => line.len() - line.trim_start().len(),
    };
    wrap::wrapped(line, start, indent, width)
}

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

/// Prints the table, without what there is no room for.
fn print(sheet: &Sheet<'_>, out: &mut dyn Write) -> io::Result<()> {
    let width = sheet.look.width;
    let mut columns = cells(sheet);
    let used = |columns: &[Cells]| columns.iter().map(|c| c.width() + 1).sum::<usize>();
    while let Some(least) = columns.iter().map(|column| column.need).min() {
        let bar = match sheet.look.bar {
            Some(_) if least < BAR_NEED => SHORTEST_BAR + 1,
            _ => 0,
        };
        // No blank is needed after the last.
        if least == u8::MAX || used(&columns) + bar <= width + 1 {
            break;
        }
        let last = columns.iter().rposition(|column| column.need == least);
        last.map(|last| columns.remove(last));
    }
    let room = width.saturating_sub(used(&columns)).min(LONGEST_BAR);
    let bar_column = sheet.look.bar.filter(|_| room >= SHORTEST_BAR);
    let bars = bar_column.map(|column| {
        let shares = (0..sheet.grid.len()).map(|row| match sheet.grid.value(row, column) {
            Value::Real(percent) => bar(Some(percent), room),
            _ => String::new(),
        });
        Cells {
            head: String::new(),
            over: String::new(),
            cells: shares.collect(),
            tones: Vec::new(),
            left: true,
            is_known: true,
            need: BAR_NEED,
        }
    });
    let is_bar = columns.len();
    columns.extend(bars);
    lines(&columns, is_bar, out)
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Less => LESS,
        Tone::More => MORE,
    }
}

/// The line of headings that neighbours share, if there are any.
fn overhead(columns: &[Cells], widths: &[usize]) -> Option<String> {
    let mut text = String::new();
    let mut column = 0;
    while column < columns.len() {
        let over = &columns[column].over;
        let same = columns[column..].iter().take_while(|c| c.over == *over);
        let next = column + same.count();
        let width = widths[column..next].iter().sum::<usize>() + next - column - 1;
        text += &match over.as_str() {
            "" => " ".repeat(width),
            _ if width < over.len() + 4 => format!("{over:>width$}"),
            _ => format!("{:-^width$}", format!(" {over} ")),
        };
        text += " ";
        column = next;
    }
    Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
}

/// Prints columns, with a blank between them and no blanks at the ends of lines.
fn lines(columns: &[Cells], bars: usize, out: &mut dyn Write) -> io::Result<()> {
    let rows = columns.first().map_or(0, |column| column.cells.len());
    let widths: Vec<usize> = columns.iter().map(Cells::width).collect();
    if let Some(over) = overhead(columns, &widths) {
        writeln!(out, "{HEAD}{over}{HEAD:#}")?;
    }
    let mut line = |row: Option<usize>| {
        let mut text = String::new();
        let mut owed = 0;
        for (index, (column, &width)) in columns.iter().zip(&widths).enumerate() {
            let (cell, style) = match row {
                None => (&column.head, HEAD),
                Some(row) if index == bars => (&column.cells[row], BAR),
                Some(row) => (&column.cells[row], style(column.tones[row])),
            };
            let room = width - cell.width();
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
    line(None)?;
    (0..rows).try_for_each(|row| line(Some(row)))
}

/// A bar for a share in percent, of at most `width` characters.
pub fn bar(percent: Option<f64>, width: usize) -> String {
    let length = percent.unwrap_or(0.0) / 100.0 * width as f64;
    "#".repeat((length.round() as usize).min(width))
}
