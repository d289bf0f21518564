// SPDX-License-Identifier: GPL-2.0

//! Shows what is behind reasons: a tree of reasons and their details.

use super::{
    facts,
    grid::{Column, Rows},
    parts,
    rows::{SHOWN_ERROR, shown_error},
    sheet::{Look, Sheet, Shown, Times, instead},
    table::width,
    units::Unit,
    words,
};
use crate::{
    columns::{self, Meta},
    names::{Names, Parts},
    select::{OTHERS, Selection, Sort, What},
    snapshot::Snapshot,
    view::{Row, View, percent},
};
use std::sync::Arc;

/// A line of the tree.
#[derive(Clone, Debug)]
pub struct Line {
    part: Part,
    /// The reason's name.
    reason: Arc<str>,
    /// The numbers.
    row: Row,
    /// What the detail is, if it is one.
    parts: Option<Parts>,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Reason,
    Detail,
    /// So many details that are not shown.
    More(usize),
    Others,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Reason => "reason",
            Part::Detail => "detail",
            Part::More(_) => "more",
            Part::Others => OTHERS,
        }
    }
}

impl Line {
    fn label(&self) -> String {
        match self.part {
            Part::Reason => self.reason.to_string(),
            Part::Detail => format!("  {}", self.row.name),
            Part::More(details) => format!("  {details} more"),
            Part::Others => format!("  {OTHERS}"),
        }
    }
}

/// The lines of the tree: the reasons of `reasons` that are to be shown, and below each its rows
/// of `details`, at most `most` details.
pub fn lines(reasons: &View, details: &View, most: usize, names: &Names) -> Vec<Line> {
    let mut lines = Vec::new();
    for reason in reasons.shown() {
        let name = &reason.name;
        let line = |part, row: Row| Line {
            part,
            reason: Arc::clone(name),
            parts: row.detail().map(|detail| names.parts(detail)),
            row,
        };
        lines.push(line(Part::Reason, reason.clone()));
        let is_own = |row: &&Row| row.reason == reason.reason && row.owner.as_ref() == Some(name);
        let (others, own): (Vec<&Row>, Vec<&Row>) =
            (details.rows.iter().filter(is_own)).partition(|row| row.what == Some(What::Others));
        // One more takes no more room than its sum.
        let shown = if own.len() == most.saturating_add(1) {
            own.len()
        } else {
            own.len().min(most)
        };
        let (shown, more) = own.split_at(shown);
        lines.extend(shown.iter().map(|row| line(Part::Detail, (*row).clone())));
        if let [_, ..] = more {
            let sum = |number: fn(&Row) -> u128| more.iter().map(|row| number(row)).sum::<u128>();
            let (exits, cycles) = (sum(|row| row.exits), sum(|row| row.cycles));
            let row = Row {
                reason: reason.reason,
                exits,
                exits_percent: percent(exits, details.total.exits),
                cycles,
                time_percent: percent(cycles, details.total.cycles),
                avg: (cycles > 0).then(|| cycles as f64 / exits as f64),
                ..Row::default()
            };
            lines.push(line(Part::More(more.len()), row));
        }
        if !own.is_empty() {
            let others = others.into_iter().cloned();
            lines.extend(others.map(|row| line(Part::Others, row)));
        }
    }
    lines
}

/// The columns for programs.
pub fn columns<'a>() -> Vec<Column<'a, Line>> {
    fn part<T>(line: &Line, part: impl Fn(&Parts) -> T) -> Option<T> {
        line.parts.as_ref().map(part)
    }
    vec![
        Column::new(&columns::PART, |line: &Line| line.part.name()),
        Column::new(&columns::REASON, |line: &Line| line.row.reason),
        Column::new(&columns::NAME, |line: &Line| line.reason.clone()),
        Column::new(&columns::KIND, |line: &Line| {
            Some(line.row.detail()?.kind.name())
        }),
        Column::new(&columns::KEY, |line: &Line| {
            Some(String::from(line.row.detail()?.key))
        }),
        Column::new(&columns::LEVEL, |line: &Line| line.row.level()),
        Column::new(&columns::NUMBER, |line: &Line| part(line, |p| p.number)),
        Column::new(&columns::SUBLEAF, |line: &Line| {
            part(line, |p| p.subleaf).flatten()
        }),
        Column::new(&columns::ACCESS, |line: &Line| {
            part(line, |p| p.access.clone()).flatten()
        }),
        Column::new(&columns::SIZE, |line: &Line| {
            part(line, |p| p.size).flatten()
        }),
        Column::new(&columns::DETAIL, |line: &Line| {
            part(line, |p| p.name.clone()).flatten()
        }),
        Column::new(&columns::LABEL, |line: &Line| {
            line.label().trim_start().to_owned()
        }),
        Column::new(&columns::EXITS, |line: &Line| line.row.exits),
        Column::new(&columns::EXITS_PERCENT, |line: &Line| {
            line.row.exits_percent
        }),
        Column::new(&columns::CYCLES, |line: &Line| line.row.cycles),
        Column::new(&columns::TIME_PERCENT, |line: &Line| line.row.time_percent),
        Column::new(&columns::AVG, |line: &Line| line.row.avg),
        Column::new(&columns::ERROR, |line: &Line| line.row.error),
    ]
}

/// The tree, and its columns for people.
pub fn grid(lines: &[Line]) -> Rows<'_, Line> {
    /// The line in its place of the tree.
    const TREE: Meta = Meta {
        name: "",
        ..columns::LABEL
    };
    /// The time of all exits.
    const TIME: Meta = Meta {
        name: "",
        label: "Time",
        kind: columns::Kind::Cycles,
        ..columns::CYCLES
    };
    let mut columns = columns();
    columns.push(Column::new(&TREE, Line::label));
    columns.push(Column::new(&SHOWN_ERROR, |line: &Line| {
        shown_error(&line.row)
    }));
    columns.push(Column::new(&TIME, |line: &Line| {
        Some(line.row.cycles).filter(|&cycles| cycles > 0)
    }));
    Rows {
        columns,
        rows: lines,
    }
}

/// The sheet for people.
pub fn sheet<'a>(
    grid: &'a Rows<'a, Line>,
    facts: &'a facts::DetailReport,
    snapshot: &Snapshot,
    selection: &Selection,
    view: &View,
    unit: Unit,
) -> Sheet<'a> {
    let first = columns().len();
    let at = |meta: &Meta| grid.columns.iter().position(|c| c.head().meta == meta);
    let shown = |column: Option<usize>, label: &str, need| {
        column.map(|column| Shown {
            column,
            label: label.into(),
            over: String::new(),
            need,
        })
    };
    let all = [
        shown(Some(first), columns::LABEL.label, u8::MAX),
        shown(at(&columns::EXITS), columns::EXITS.label, u8::MAX),
        shown(Some(first + 1), columns::ERROR.label, 35),
        shown(
            at(&columns::EXITS_PERCENT),
            columns::EXITS_PERCENT.label,
            32,
        ),
        shown(at(&columns::TIME_PERCENT), columns::TIME_PERCENT.label, 33),
        shown(Some(first + 2), "Time", 31),
        shown(at(&columns::AVG), columns::AVG.label, 34),
    ];
    let bar = match selection.sort {
        Sort::Time => &columns::TIME_PERCENT,
        _ => &columns::EXITS_PERCENT,
    };
    let mut notes = vec![words::total(view, snapshot, unit)];
    let rows = grid.rows.iter().map(|line| &line.row);
    notes.extend(parts::notes(rows, snapshot, selection));
    Sheet {
        reading: None,
        instead: instead(selection.top),
        facts,
        grid,
        shown: all.into_iter().flatten().collect(),
        look: Look {
            times: Times::Of(unit),
            width: width(),
            bar: at(bar),
        },
        title: vec![words::head(snapshot, selection, unit)],
        notes,
    }
}
