// SPDX-License-Identifier: GPL-2.0

//! What rows and figures are called in pictures, which have more room for names than tables.

use super::axis::Quantity;
use crate::{render::units::Unit, select::Key, snapshot::TimeOf, view::Row};
use std::collections::{BTreeSet, HashMap};

/// The names of these rows, each with the name of its VM, if it has one. If vCPUs have the same
/// name, the first digits of their identities tell them apart.
pub fn names<'a>(rows: impl Iterator<Item = (&'a Key, Option<&'a str>)> + Clone) -> Vec<String> {
    let owner = |key: &'a Key| key.owner.as_ref().unwrap_or(&key.name);
    let mut ids: HashMap<&str, BTreeSet<_>> = HashMap::new();
    for (key, _) in rows.clone() {
        ids.entry(owner(key)).or_default().extend(key.id);
    }
    let name = |(key, vm_name): (&'a Key, Option<&str>)| {
        let mut name = owner(key).to_string();
        let is_alone = ids.get(name.as_str()).is_none_or(|ids| ids.len() < 2);
        if let Some(id) = key.id.filter(|_| !is_alone) {
            name += &format!(" #{:.4}", id.to_string());
        }
        if key.owner.is_some() {
            name += &format!(" {}", key.name);
        }
        if let Some(vm_name) = vm_name {
            name += &format!(" ({vm_name})");
        }
        name
    };
    rows.map(name).collect()
}

/// The names of rows of a view.
pub fn of_rows(rows: &[Row]) -> Vec<String> {
    let keys: Vec<Key> = rows.iter().map(Row::key).collect();
    names(
        keys.iter()
            .zip(rows.iter().map(|row| row.vm_name.as_deref())),
    )
}

/// Where the time of exits is measured.
pub fn measured(time_of: TimeOf) -> &'static str {
    match time_of {
        TimeOf::Handler => "in handlers",
        TimeOf::ExitToEntry => "from exit to entry",
    }
}

/// The time of exits.
pub fn of_time(unit: Unit, time_of: TimeOf) -> (Quantity, String) {
    let (quantity, what) = match unit {
        Unit::Cycles => (Quantity::Cycles, "Cycles"),
        Unit::Time(_) => (Quantity::Time, "Time"),
    };
    (quantity, format!("{what} {}", measured(time_of)))
}
