// SPDX-License-Identifier: GPL-2.0

//! A list of rows with figures and bars, whatever they are.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Rect},
    style::{Style, Stylize},
    text::{Line, Text},
    widgets::{Row, Table, TableState},
};

/// Below that many lines, rows are more needed than their total.
const LOWEST_WITH_TOTAL: u16 = 5;

/// A list.
pub struct Listing {
    /// The heading of the names, and those of the figures.
    pub heads: Vec<Head>,
    /// The rows.
    pub rows: Vec<Entry>,
    /// Their sum, if there is more than one.
    pub total: Option<Entry>,
    /// The width of bars.
    pub bar: usize,
}

/// A heading.
pub struct Head {
    /// Its text.
    pub label: &'static str,
    /// The width of its column.
    pub width: usize,
    /// Whether rows are sorted by the column.
    pub is_order: bool,
}

/// A row.
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its figures.
    pub cells: Vec<String>,
    /// Its bar.
    pub bar: Line<'static>,
}

impl Listing {
    /// The list as lines of text.
    pub fn lines(&self) -> Vec<String> {
        let line = |name: &str, cells: &[String], bar: String| {
            let mut line = format!("{name:<0$}", self.heads[0].width);
            for (cell, head) in cells.iter().zip(&self.heads[1..]) {
                line += &format!(" {cell:>0$}", head.width);
            }
            format!("{line} {bar}").trim_end().to_owned()
        };
        let heads: Vec<String> = self.heads[1..].iter().map(|h| h.label.into()).collect();
        let rows = self.rows.iter().chain(&self.total);
        [line(self.heads[0].label, &heads, String::new())]
            .into_iter()
            .chain(rows.map(|row| line(&row.name, &row.cells, row.bar.to_string())))
            .collect()
    }

    /// Draws as much of the list as there is room for, with the row `cursor` in any case. Returns
    /// what is left below.
    pub fn draw(self, frame: &mut Frame<'_>, area: Rect, cursor: usize) -> Rect {
        let right = |text: String| Text::from(text).alignment(Alignment::Right);
        let bar = self.bar;
        let line = |entry: Entry| {
            let bar = (bar > 0).then(|| Text::from(entry.bar));
            let cells = entry.cells.into_iter().map(right);
            let name = [Text::from(entry.name)];
            Row::new(name.into_iter().chain(cells).chain(bar))
        };
        let heads = self.heads.iter().enumerate().map(|(index, head)| {
            let text = match index {
                0 => Text::from(head.label),
                _ => right(head.label.into()),
            };
            match head.is_order {
                true => text.reversed(),
                false => text,
            }
        });
        let header = Row::new(heads).bold();
        let total = (self.total).filter(|_| area.height >= LOWEST_WITH_TOTAL);
        // Below the heading.
        let taken = 1 + u16::from(total.is_some());
        let height = usize::from(area.height.saturating_sub(taken)).max(1);
        let first = (cursor + 1).saturating_sub(height);
        let rows: Vec<Row<'_>> = (self.rows.into_iter().skip(first).take(height))
            .map(line)
            .collect();
        // The total is below the last row, not at the bottom of the screen.
        let used = u16::try_from(rows.len()).map_or(area.height, |rows| rows.saturating_add(taken));
        let used = used.min(area.height);
        let widths = self.heads.iter().map(|head| head.width);
        let widths = widths.chain((bar > 0).then_some(bar));
        let mut table = Table::new(rows, widths.map(|width| Constraint::Length(width as u16)))
            .header(header)
            .row_highlight_style(Style::new().reversed());
        if let Some(total) = total {
            table = table.footer(line(total).bold());
        }
        let mut state = TableState::new().with_selected(cursor - first);
        let list = Rect {
            height: used,
            ..area
        };
        frame.render_stateful_widget(table, list, &mut state);
        Rect {
            y: area.y + used,
            height: area.height - used,
            ..area
        }
    }
}
