// SPDX-License-Identifier: GPL-2.0

//! What rows of details and code, and of nested guests, mean.

use super::{units::counted, words::label};
use crate::{
    select::{Selection, What},
    snapshot::{Owner, Snapshot},
    view::Row,
};

/// What users must know about rows of details or code, or of exits of a level.
pub fn notes<'a>(
    rows: impl Iterator<Item = &'a Row> + Clone,
    snapshot: &Snapshot,
    selection: &Selection,
) -> Vec<String> {
    let mut notes = Vec::new();
    if rows.clone().any(|row| row.what == Some(What::Others)) {
        let words = "exits from before these were recorded, of vCPUs without";
        notes.push(label("Others", words));
        notes.push(label(
            "",
            "counters, and of those with too few exits to be kept",
        ));
    }
    if rows.clone().any(|row| row.error > Some(0)) {
        let words = "so many of the others, at most, belong to the row, too";
        notes.push(label("Error", words));
    }
    let counters = snapshot.counters.iter();
    let unknown = counters.filter(|c| c.owner == Owner::Unattributed);
    let unknown: u128 = unknown.map(|c| u128::from(c.exits)).sum();
    let has_levels = selection.level.is_some() || rows.clone().any(has_l2);
    if has_levels && unknown > 0 && !selection.is_restricted() {
        let exits = counted(unknown, "exit", "exits");
        notes.push(label(
            "Unknown level",
            format!("{exits} of vCPUs without counters"),
        ));
    }
    notes
}

/// Whether exits of a row came from L2.
fn has_l2(row: &Row) -> bool {
    row.nested.is_some_and(|nested| nested.l2 > 0)
}
