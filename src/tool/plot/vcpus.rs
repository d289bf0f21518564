// SPDX-License-Identifier: GPL-2.0

//! Which vCPUs or VMs have exits of which reasons: a heat map.

use super::{
    Picture,
    axis::Quantity,
    chart::{
        Chart,
        grid::{Columns, Grid},
    },
    exits::in_unit,
    names,
};
use crate::{
    render::units::Unit,
    select::{Key, Sort},
    snapshot::TimeOf,
    view::{Row, View},
};
use anyhow::{Result, ensure};
use std::{collections::BTreeMap, sync::Arc};

/// How many reasons there is room for.
const COLUMNS: usize = 8;

/// The heat map of the rows of a view by VM or vCPU, and reason.
///
/// # Errors
///
/// If there are no rows.
pub fn of_view(view: &View, sort: Sort, unit: Unit, time_of: TimeOf) -> Result<Picture> {
    ensure!(!view.rows.is_empty(), "no vCPU has counters of its own");
    let figure = |row: &Row| match sort {
        Sort::Time => in_unit(row.cycles, unit),
        _ => row.exits as f64,
    };
    let mut reasons: BTreeMap<&Arc<str>, f64> = BTreeMap::new();
    let mut owners: BTreeMap<Key, BTreeMap<&Arc<str>, f64>> = BTreeMap::new();
    for row in &view.rows {
        *reasons.entry(&row.name).or_default() += figure(row);
        let key = Key {
            reason: None,
            owner: None,
            name: row.owner.clone().unwrap_or_default(),
            ..row.key()
        };
        let cells = owners.entry(key).or_default();
        *cells.entry(&row.name).or_default() += figure(row);
    }
    let mut reasons: Vec<(&Arc<str>, f64)> = reasons.into_iter().collect();
    reasons.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let reasons: Vec<&Arc<str>> = reasons.into_iter().map(|(name, _)| name).collect();
    let shown = match reasons.len() {
        all if all <= COLUMNS => all,
        _ => COLUMNS - 1,
    };
    let (reasons, others) = reasons.split_at(shown);
    // What belongs to no vCPU comes last.
    let mut owners: Vec<(Key, BTreeMap<&Arc<str>, f64>)> = owners.into_iter().collect();
    owners.sort_by_key(|(key, _)| key.vm.is_none());
    let cells = owners.iter().map(|(_, cells)| {
        let of = |name: &&Arc<str>| cells.get(*name).copied();
        let mut row: Vec<Option<f64>> = reasons.iter().map(of).collect();
        if !others.is_empty() {
            row.push(Some(others.iter().filter_map(of).sum()));
        }
        row
    });
    let mut columns: Vec<String> = reasons.iter().map(|name| name.to_string()).collect();
    if !others.is_empty() {
        columns.push(format!("{} others", others.len()));
    }
    let vm_name = |key: &Key| {
        let row = view.rows.iter().find(|row| row.vm == key.vm);
        row.and_then(|row| row.vm_name.as_deref())
    };
    let (quantity, heading) = match sort {
        Sort::Time => names::of_time(unit, time_of),
        _ => (Quantity::Exits, "Exits".into()),
    };
    let chart = Grid {
        heading,
        quantity,
        rows: names::names(owners.iter().map(|(key, _)| (key, vm_name(key)))),
        columns: Columns::Named(columns),
        cells: cells.collect(),
    };
    Ok(Picture::new(
        "VM exits of each vCPU, by reason",
        Chart::Grid(chart),
    ))
}
