// SPDX-License-Identifier: GPL-2.0

//! The table of a comparison.

use super::{
    budget::said,
    grid::{Column, Head, Rows, Value},
    rows::{NAME_LABEL, OWNER_LABEL, heading, name_columns, owner_heading},
    sheet::{Shown, Times},
    units::Unit,
};
use crate::{
    columns::{self, Meta},
    comparison::{self, Comparison, Pair, Side, letter},
    select::By,
};

/// The phases that people see.
const SHOWN_PHASE: Meta = Meta {
    name: "",
    ..columns::PHASE
};

/// The table, of the first `top` reasons. People see the guest in the budget.
pub fn grid(comparison: &Comparison, top: usize, is_for_people: bool) -> Rows<'_, Pair> {
    let reasons = comparison.reasons();
    let first = match is_for_people {
        true => comparison.rows.len() - reasons.len(),
        false => 0,
    };
    let end = comparison.rows.len() - reasons.len().saturating_sub(top);
    Rows {
        columns: columns(comparison.parts.len()),
        rows: &comparison.rows[first..end],
    }
}

/// The budget, for people.
pub fn budget(comparison: &Comparison) -> Option<Rows<'_, Pair>> {
    Some(Rows {
        columns: columns(comparison.parts.len()),
        rows: comparison.budget.as_ref()?,
    })
}

/// The columns, if so many snapshots are compared.
pub fn columns<'a>(parts: usize) -> Vec<Column<'a, Pair>> {
    let mut all = vec![
        Column::new(&columns::REASON, |pair: &Pair| pair.key.reason),
        Column::new(&columns::NAME, |pair: &Pair| pair.key.name.clone()),
    ];
    for index in 0..parts {
        let mut add = |meta: &'static Meta, value: fn(&Side) -> Value| {
            let value = move |pair: &Pair| value(pair.side(index));
            all.push(Column::new(meta, value).of(&group(index)));
        };
        add(&columns::EXITS, |side| side.exits.into());
        add(&columns::CYCLES, |side| side.cycles.into());
        add(&columns::RATE, |side| side.exits_per_second.into());
        add(&columns::EXITS_PERCENT, |side| side.exits_percent.into());
        add(&columns::DIFF_PERCENT, |side| side.time_percent.into());
        add(&columns::DIFF_AVG, |side| side.avg.into());
        add(&columns::DIFF_TIME, |side| side.time.into());
        add(&columns::UNTIMED, |side| side.untimed.into());
    }
    all.extend([
        Column::new(&columns::EXITS_CHANGE, Pair::exits_change),
        Column::new(&columns::AVG_CHANGE, Pair::avg_change),
        Column::new(&columns::TIME_CHANGE, Pair::time_change),
        Column::new(&columns::VM, |pair: &Pair| pair.key.vm.clone()),
        Column::new(&columns::VCPU, |pair: &Pair| pair.key.vcpu),
        Column::new(&columns::OWNER, |pair: &Pair| pair.key.owner.clone()),
        Column::new(&columns::VM_NAME, |pair: &Pair| pair.vm_name.clone()),
        Column::new(&OWNER_LABEL, |pair: &Pair| pair.key.owner.clone()),
        Column::new(&NAME_LABEL, |pair: &Pair| pair.key.name.clone()),
        Column::new(&columns::PHASE, |pair: &Pair| pair.phase),
        Column::new(&SHOWN_PHASE, |pair: &Pair| pair.phase.map(said)),
    ]);
    all
}

/// What programs call the snapshot of that index.
fn group(index: usize) -> String {
    letter(index).to_lowercase().to_string()
}

/// Chooses columns for people.
struct Choice {
    heads: Vec<Head>,
    parts: usize,
    shown: Vec<Shown>,
}

impl Choice {
    fn new(comparison: &Comparison) -> Choice {
        let parts = comparison.parts.len();
        let heads = columns(parts).iter().map(|c| c.head().clone()).collect();
        Choice {
            heads,
            parts,
            shown: Vec::new(),
        }
    }

    fn add(&mut self, meta: &Meta, part: Option<usize>, [label, over]: [&str; 2], need: u8) {
        let group = part.map(group);
        let mut heads = self.heads.iter();
        let column = heads.position(|head| head.meta == meta && head.group == group);
        self.shown.extend(column.map(|column| Shown {
            column,
            label: label.into(),
            over: over.into(),
            need,
        }));
    }

    /// Adds a column that all snapshots have in common.
    fn add_one(&mut self, meta: &Meta, label: &str, need: u8) {
        self.add(meta, None, [label, ""], need);
    }

    /// Adds the columns of the snapshots. The first and the last are more needed.
    fn add_parts(&mut self, meta: &Meta, over: &str, [ends, middle]: [u8; 2]) {
        for part in 0..self.parts {
            let is_end = part == 0 || part + 1 == self.parts;
            let need = if is_end { ends } else { middle };
            self.add(meta, Some(part), [&letter(part).to_string(), over], need);
        }
    }

    /// Adds a column of changes.
    fn add_change(&mut self, meta: &Meta, over: &str, need: u8) {
        self.add(meta, None, ["Change", over], need);
    }
}

/// The columns for people. Where there is no room, those in the middle go first.
pub fn shown(comparison: &Comparison, by: By) -> Vec<Shown> {
    let mut all = Choice::new(comparison);
    let (exits, exits_label, time_label) = match comparison.per_second {
        true => (&columns::RATE, "Exits/s", "Time/s"),
        false => (&columns::EXITS, "Exits", "Time"),
    };
    let [owner, name] = name_columns(by);
    if by.has_owner() {
        all.add_one(owner, owner_heading(by), u8::MAX);
        all.add_one(&columns::VM_NAME, columns::VM_NAME.label, 15);
    }
    all.add_one(name, heading(by), u8::MAX);
    if matches!(by, By::Vm | By::Vcpu) {
        all.add_one(&columns::VM_NAME, columns::VM_NAME.label, 15);
    }
    if comparison.budget.is_some() {
        let time_label = vcpu_time(comparison);
        all.add_one(&SHOWN_PHASE, columns::PHASE.label, u8::MAX);
        all.add_parts(&columns::DIFF_AVG, "After an exit", [20, 10]);
        all.add_change(&columns::AVG_CHANGE, "After an exit", 15);
        all.add_parts(&columns::DIFF_TIME, time_label, [30, 12]);
        all.add_change(&columns::TIME_CHANGE, time_label, u8::MAX);
        return all.shown;
    }
    all.add_parts(exits, exits_label, [u8::MAX, 12]);
    all.add_change(&columns::EXITS_CHANGE, exits_label, 30);
    all.add_parts(&columns::DIFF_AVG, "Avg", [20, 10]);
    all.add_change(&columns::AVG_CHANGE, "Avg", 25);
    all.add_change(&columns::TIME_CHANGE, time_label, 40);
    all.shown
}

/// The columns of the budget for people.
pub fn budget_shown(comparison: &Comparison) -> Vec<Shown> {
    let mut all = Choice::new(comparison);
    all.add_one(&SHOWN_PHASE, columns::PHASE.label, u8::MAX);
    all.add_parts(&columns::DIFF_PERCENT, "Share of the time", [u8::MAX, 20]);
    let over = vcpu_time(comparison);
    all.add_parts(&columns::DIFF_TIME, over, [30, 10]);
    all.add_change(&columns::TIME_CHANGE, over, u8::MAX);
    all.shown
}

/// What times of phases are.
fn vcpu_time(comparison: &Comparison) -> &'static str {
    match comparison.per_second {
        true => "Per vCPU-second",
        false => "Time",
    }
}

/// The unit of its times.
pub fn times(comparison: &Comparison) -> Times {
    match comparison.times {
        comparison::Times::Ns => Times::Nanoseconds,
        comparison::Times::Cycles => Times::Of(Unit::Cycles),
    }
}
