// SPDX-License-Identifier: GPL-2.0

//! The table of a view.

use super::{
    cells,
    grid::{Column, Grid, Rows, Value},
    sheet::{Look, Sheet, Shown, Times, instead},
    table::width,
    units::{self, Unit},
};
use crate::{
    columns::{self, Kind, Meta},
    select::{By, Selection, Sort},
    snapshot::{Snapshot, id::Id},
    view::{Row, View},
};
use clap::ValueEnum;
use std::collections::{BTreeSet, HashMap};

/// A tool whose words are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Words {
    /// perf kvm stat report
    Perf,
}

/// The names that people see.
const SHOWN_NAME: Meta = Meta {
    name: "",
    ..columns::NAME
};

const SHOWN_OWNER: Meta = Meta {
    name: "",
    ..columns::OWNER
};

/// The names of details and code, which are longer, for people.
pub const NAME_LABEL: Meta = Meta {
    kind: Kind::Label,
    ..SHOWN_NAME
};
/// The first of the two things that a row is of, in the same way.
pub const OWNER_LABEL: Meta = Meta {
    kind: Kind::Label,
    ..SHOWN_OWNER
};

/// What people see only if there is any.
pub const SHOWN_ERROR: Meta = Meta {
    name: "",
    ..columns::ERROR
};
const SHOWN_L2: Meta = Meta {
    name: "",
    ..columns::L2
};
const SHOWN_REFLECTED: Meta = Meta {
    name: "",
    ..columns::REFLECTED
};

/// The columns for people, and how much each is needed.
const SHOWN: [(&Meta, u8); 17] = [
    (&OWNER_LABEL, u8::MAX),
    (&NAME_LABEL, u8::MAX),
    (&SHOWN_OWNER, u8::MAX),
    (&SHOWN_NAME, u8::MAX),
    (&columns::VM_NAME, 40),
    (&columns::EXITS, u8::MAX),
    (&SHOWN_ERROR, 39),
    (&columns::EXITS_PERCENT, 32),
    (&SHOWN_L2, 36),
    (&SHOWN_REFLECTED, 35),
    (&columns::TIME_PERCENT, 33),
    (&columns::MIN, 30),
    (&columns::MAX, 31),
    (&columns::AVG, 34),
    (&columns::P50, 11),
    (&columns::P90, 10),
    (&columns::P99, 12),
];

/// The rows of a view of `snapshot` that are to be shown.
pub fn grid<'a>(snapshot: &Snapshot, view: &'a View) -> Rows<'a, Row> {
    let rows = view.shown();
    let mut columns = columns();
    columns.push(clock(snapshot));
    if rows.iter().any(|row| row.what.is_some()) {
        columns.push(Column::new(&OWNER_LABEL, |row: &Row| row.owner.clone()));
        columns.push(Column::new(&NAME_LABEL, |row: &Row| row.name.clone()));
    } else {
        columns.push(Column::listed(&SHOWN_OWNER, owners(rows.iter())));
        columns.push(Column::listed(&SHOWN_NAME, names(rows.iter())));
    }
    columns.extend(occurring(rows));
    Rows { columns, rows }
}

/// How many exits more there may be, for people.
pub fn shown_error(row: &Row) -> Option<String> {
    let error = row.error.filter(|&error| error > 0)?;
    Some(format!("+{}", units::count(error as f64, 8)))
}

/// What is in these columns for people: nothing, unless there is something in any of the rows.
fn occurring<'a>(rows: &[Row]) -> Vec<Column<'a, Row>> {
    let has_nested = rows.iter().filter_map(|row| row.nested).any(|n| n.l2 > 0);
    let nested = move |row: &Row| row.nested.filter(|_| has_nested);
    vec![
        Column::new(&SHOWN_ERROR, shown_error),
        Column::new(&SHOWN_L2, move |row: &Row| Some(nested(row)?.l2)),
        Column::new(&SHOWN_REFLECTED, move |row: &Row| {
            Some(nested(row)?.reflected)
        }),
    ]
}

/// When it was read, which is the same in all rows.
pub fn clock<'a, R>(snapshot: &Snapshot) -> Column<'a, R> {
    Column::fact(&columns::CLOCK, snapshot.clock.map(|time| time.to_string()))
}

/// The columns for programs.
pub fn columns<'a>() -> Vec<Column<'a, Row>> {
    let buckets = |row: &Row| match row.buckets.as_slice() {
        [] => Value::Unknown,
        buckets => {
            let taken = buckets.iter().filter(|(.., exits)| *exits > 0);
            Value::Buckets(taken.copied().collect())
        }
    };
    vec![
        Column::new(&columns::VM, |row: &Row| row.vm.clone()),
        Column::new(&columns::VCPU, |row: &Row| row.vcpu),
        Column::new(&columns::REASON, |row: &Row| row.reason),
        Column::new(&columns::NAME, |row: &Row| row.name.clone()),
        Column::new(&columns::EXITS, |row: &Row| row.exits),
        Column::new(&columns::EXITS_PERCENT, |row: &Row| row.exits_percent),
        Column::new(&columns::CYCLES, |row: &Row| row.cycles),
        Column::new(&columns::TIME_PERCENT, |row: &Row| row.time_percent),
        Column::new(&columns::MIN, |row: &Row| row.min),
        Column::new(&columns::MAX, |row: &Row| row.max),
        Column::new(&columns::AVG, |row: &Row| row.avg),
        Column::new(&columns::P50, |row: &Row| row.p50),
        Column::new(&columns::P90, |row: &Row| row.p90),
        Column::new(&columns::P99, |row: &Row| row.p99),
        Column::new(&columns::UNTIMED, |row: &Row| row.untimed),
        Column::new(&columns::ID, |row: &Row| row.id.map(|id| id.to_string())),
        Column::new(&columns::OWNER, |row: &Row| row.owner.clone()),
        Column::new(&columns::VM_NAME, |row: &Row| row.vm_name.clone()),
        Column::new(&columns::BUCKETS, buckets),
        Column::new(&columns::KIND, |row: &Row| Some(row.detail()?.kind.name())),
        Column::new(&columns::KEY, |row: &Row| {
            Some(String::from(row.detail()?.key))
        }),
        Column::new(&columns::LEVEL, |row: &Row| row.level()),
        Column::new(&columns::RIP, |row: &Row| {
            Some(String::from(row.place()?.rip))
        }),
        Column::new(&columns::CPL, |row: &Row| Some(u32::from(row.place()?.cpl))),
        Column::new(&columns::ERROR, |row: &Row| row.error),
        Column::new(&columns::L2, |row: &Row| Some(row.nested?.l2)),
        Column::new(&columns::L2_CYCLES, |row: &Row| Some(row.nested?.l2_cycles)),
        Column::new(&columns::REFLECTED, |row: &Row| Some(row.nested?.reflected)),
        Column::new(&columns::REFLECTED_CYCLES, |row: &Row| {
            Some(row.nested?.reflected_cycles)
        }),
    ]
}

/// A sheet of the rows in `grid`, without words yet.
pub fn sheet<'a>(
    grid: &'a dyn Grid,
    facts: &'a dyn erased_serde::Serialize,
    selection: &Selection,
    unit: Unit,
    words: Option<Words>,
) -> Sheet<'a> {
    let bar = bar(grid, selection);
    Sheet {
        instead: instead(selection.top),
        facts,
        reading: None,
        grid,
        shown: shown(grid, selection.by, words),
        look: Look {
            times: Times::Of(unit),
            width: width(),
            bar: bar.filter(|_| words.is_none()),
        },
        title: Vec::new(),
        notes: Vec::new(),
    }
}

/// The columns of `grid` for people.
fn shown(grid: &dyn Grid, by: By, words: Option<Words>) -> Vec<Shown> {
    let heads = grid.heads();
    let shown = SHOWN.iter().filter_map(|(meta, need)| {
        let column = heads.iter().position(|head| head.meta == *meta)?;
        let is_name = [&SHOWN_NAME, &NAME_LABEL].contains(meta);
        let is_owner = [&SHOWN_OWNER, &OWNER_LABEL].contains(meta);
        let label = match by {
            _ if is_name => heading(by),
            _ if is_owner => owner_heading(by),
            _ => meta.label,
        };
        // Other rows have no owner.
        let is_empty = is_owner && !by.has_owner();
        let (label, is_empty) = match words {
            Some(Words::Perf) => (meta.perf, meta.perf.is_empty()),
            None => (label, is_empty),
        };
        let label = label.into();
        let need = if words.is_some() { u8::MAX } else { *need };
        (!is_empty).then_some(Shown {
            column,
            label,
            over: String::new(),
            need,
        })
    });
    let mut shown: Vec<Shown> = shown.collect();
    if by.has_owner() && words.is_none() {
        // Beside the VM.
        shown.swap(1, 2);
    }
    shown
}

/// The column whose percentages bars show.
fn bar(grid: &dyn Grid, selection: &Selection) -> Option<usize> {
    let meta = match selection.sort {
        Sort::Time => &columns::TIME_PERCENT,
        _ => &columns::EXITS_PERCENT,
    };
    grid.heads().iter().position(|head| head.meta == meta)
}

/// The heading of places in the guest's code.
const CODE: &str = "Code";

/// The columns of owners, or of the first of two other things, and of names, for people.
pub fn name_columns(by: By) -> [&'static Meta; 2] {
    match by.is_of_keys() {
        true => [&OWNER_LABEL, &NAME_LABEL],
        false => [&columns::OWNER, &columns::NAME],
    }
}

/// The heading of the column of owners, or of the first of two other things.
pub fn owner_heading(by: By) -> &'static str {
    match by {
        By::VcpuReason => columns::VCPU.label,
        By::Detail => columns::NAME.label,
        By::RipReason => CODE,
        _ => columns::OWNER.label,
    }
}

/// The heading of the column of names.
pub fn heading(by: By) -> &'static str {
    match by {
        By::Reason | By::VmReason | By::VcpuReason | By::RipReason => columns::NAME.label,
        By::Detail => "Detail",
        By::Rip => CODE,
        By::Vm => columns::VM.label,
        By::Vcpu => columns::VCPU.label,
    }
}

/// The names of rows, shortened. If vCPUs have the same name, the first digits of their
/// identities tell them apart.
pub fn names<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<String> {
    let named = rows.map(|row| match row.owner {
        None => (&*row.name, row.id),
        Some(_) => (&*row.name, None),
    });
    told_apart(named)
}

/// The owners of rows, in the same way.
pub fn owners<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> Vec<String> {
    told_apart(rows.map(|row| (row.owner.as_deref().unwrap_or(""), row.id)))
}

/// The name of a detail or place, in the same way.
pub fn label(name: &str) -> String {
    cells::label(name)
}

/// A name, without its middle if it is too long.
pub fn shortened(name: &str) -> String {
    cells::shortened(name)
}

/// Names, in the same way.
pub fn told_apart<'a>(named: impl Iterator<Item = (&'a str, Option<Id>)> + Clone) -> Vec<String> {
    let mut seen: HashMap<&str, BTreeSet<Id>> = HashMap::new();
    for (name, id) in named.clone() {
        seen.entry(name).or_default().extend(id);
    }
    let name = |(name, id): (&str, Option<Id>)| match id {
        Some(id) if seen.get(name).is_some_and(|ids| ids.len() > 1) => {
            shortened(&format!("{name} #{:.4}", id.to_string()))
        }
        _ => shortened(name),
    };
    named.map(name).collect()
}
