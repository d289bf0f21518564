// SPDX-License-Identifier: GPL-2.0

//! The table of a comparison.

use super::{
    grid::{Column, Rows, Value},
    sheet::{Shown, Times},
    units::Unit,
};
use crate::{
    columns::{self, Meta},
    comparison::{self, Comparison, Pair, Side, letter},
    select::By,
};

/// The table, of the first `top` rows.
pub fn grid(comparison: &Comparison, top: usize) -> Rows<'_, Pair> {
    Rows {
        columns: columns(comparison.parts.len()),
        rows: &comparison.rows[..comparison.rows.len().min(top)],
    }
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
    ]);
    all
}

/// What programs call the snapshot of that index.
fn group(index: usize) -> String {
    letter(index).to_lowercase().to_string()
}

/// The columns for people. Where there is no room, those in the middle go first.
pub fn shown(comparison: &Comparison, by: By) -> Vec<Shown> {
    let parts = comparison.parts.len();
    let heads = columns(parts);
    let mut all = Vec::new();
    let mut add = |meta: &Meta, part: Option<usize>, label: &str, over: &str, need| {
        let group = part.map(group);
        let mut heads = heads.iter().map(Column::head);
        let column = heads.position(|head| head.meta == meta && head.group == group);
        all.extend(column.map(|column| Shown {
            column,
            label: label.into(),
            over: over.into(),
            need,
        }));
    };
    let (exits, exits_label, time_label) = match comparison.per_second {
        true => (&columns::RATE, "Exits/s", "Time/s"),
        false => (&columns::EXITS, "Exits", "Time"),
    };
    let is_end = |part| part == 0 || part + 1 == parts;
    if by.has_owner() {
        add(&columns::OWNER, None, columns::OWNER.label, "", u8::MAX);
        add(&columns::VM_NAME, None, columns::VM_NAME.label, "", 15);
    }
    let head = super::rows::heading(by);
    add(&columns::NAME, None, head, "", u8::MAX);
    if matches!(by, By::Vm | By::Vcpu) {
        add(&columns::VM_NAME, None, columns::VM_NAME.label, "", 15);
    }
    for part in 0..parts {
        let need = if is_end(part) { u8::MAX } else { 12 };
        add(
            exits,
            Some(part),
            &letter(part).to_string(),
            exits_label,
            need,
        );
    }
    add(&columns::EXITS_CHANGE, None, "Change", exits_label, 30);
    for part in 0..parts {
        let need = if is_end(part) { 20 } else { 10 };
        add(
            &columns::DIFF_AVG,
            Some(part),
            &letter(part).to_string(),
            "Avg",
            need,
        );
    }
    add(&columns::AVG_CHANGE, None, "Change", "Avg", 25);
    add(&columns::TIME_CHANGE, None, "Change", time_label, 40);
    all
}

/// The unit of its times.
pub fn times(comparison: &Comparison) -> Times {
    match comparison.times {
        comparison::Times::Ns => Times::Nanoseconds,
        comparison::Times::Cycles => Times::Of(Unit::Cycles),
    }
}
