// SPDX-License-Identifier: GPL-2.0

//! The cells of a table for people: a few characters for each value.

use super::{
    grid::Value,
    sheet::{Sheet, Shown, Times},
    units,
};
use crate::columns::Kind;
use unicode_width::UnicodeWidthStr;

/// The longest name of a VMX reason.
const NAME: usize = 19;

/// The longest name of another thing.
const LABEL: usize = 38;

/// A change of so many percent is worth a colour.
const REMARKABLE: f64 = 5.0;

/// Whether a change is for the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// There is nothing to judge.
    Plain,
    /// There is less than before.
    Less,
    /// There is more than before.
    More,
}

impl Tone {
    fn of(value: &Value, kind: Kind) -> Tone {
        match value {
            Value::Real(percent) if kind == Kind::Change && *percent >= REMARKABLE => Tone::More,
            Value::Real(percent) if kind == Kind::Change && *percent <= -REMARKABLE => Tone::Less,
            _ => Tone::Plain,
        }
    }
}

/// A column of a table for people.
pub struct Cells {
    /// The heading.
    pub head: String,
    /// The heading above that, which neighbours may share.
    pub over: String,
    /// A cell for each row.
    pub cells: Vec<String>,
    /// How each cell is to be judged.
    pub tones: Vec<Tone>,
    /// Whether they are aligned to the left.
    pub left: bool,
    /// Whether any of them tells something.
    pub is_known: bool,
    /// How much it is needed: what has the lowest number is left out first. The highest number
    /// always stays.
    pub need: u8,
}

impl Cells {
    /// The width of the widest cell.
    pub fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.width());
        cells.max().unwrap_or(0).max(self.head.width())
    }
}

/// The columns of a sheet that are for people.
pub fn cells(sheet: &Sheet<'_>) -> Vec<Cells> {
    let heads = sheet.grid.heads();
    let column = |shown: &Shown| {
        let kind = heads[shown.column].meta.kind;
        let values = (0..sheet.grid.len()).map(|row| sheet.grid.value(row, shown.column));
        let mut is_known = false;
        let mut tones = Vec::new();
        let cells = values
            .map(|value| {
                is_known |= value != Value::Unknown;
                tones.push(Tone::of(&value, kind));
                shown_as(&value, kind, sheet.look.times)
            })
            .collect();
        Cells {
            head: shown.label.clone(),
            over: shown.over.clone(),
            cells,
            tones,
            left: matches!(kind, Kind::Name | Kind::Label | Kind::Clock),
            is_known,
            need: shown.need,
        }
    };
    let mut columns: Vec<Cells> = sheet.shown.iter().map(column).collect();
    columns.retain(|column| column.is_known || column.need == u8::MAX);
    columns
}

/// A value in a few characters.
pub fn shown_as(value: &Value, kind: Kind, times: Times) -> String {
    let number = match value {
        Value::Unknown => return "-".into(),
        Value::Text(text) if kind == Kind::Label => return label(text),
        Value::Text(text) => return shortened(text),
        Value::Buckets(_) => return value.to_string(),
        Value::Count(number) if kind == Kind::Number => return number.to_string(),
        Value::Count(number) if kind == Kind::Whole => return units::grouped(*number),
        Value::Count(number) => *number as f64,
        Value::Real(number) => *number,
    };
    let time = |number| match times {
        Times::Of(unit) => unit.show(number),
        Times::Nanoseconds => units::time(number),
    };
    match kind {
        Kind::Percent => units::percent(number / 100.0),
        Kind::Change => units::change(number),
        Kind::Mean => units::rate(number, 7),
        Kind::Cycles | Kind::Time => time(number),
        Kind::TimeChange => {
            let sign = if number < 0.0 { '-' } else { '+' };
            format!("{sign}{}", time(number.abs()))
        }
        Kind::Seconds => format!("{number:.3}"),
        _ => units::count(number, 8),
    }
}

/// A name, without its middle if it is too long.
pub fn shortened(name: &str) -> String {
    cut(name, NAME)
}

/// The name of a detail or place, in the same way.
pub fn label(name: &str) -> String {
    cut(name, LABEL)
}

/// A name of at most `most` columns, without its middle if it is longer.
fn cut(name: &str, most: usize) -> String {
    if name.width() <= most {
        return name.into();
    }
    let start: String = name.chars().take(most - 8).collect();
    let end: String = name.chars().skip(name.chars().count() - 6).collect();
    format!("{start}..{end}")
}
