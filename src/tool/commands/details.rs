// SPDX-License-Identifier: GPL-2.0

//! `exitprof report --details`: what is behind the exits of each reason.

use super::show::Show;
use crate::{
    render::{Format, details, facts, words},
    select::{By, Selection, Sort},
    snapshot::Snapshot,
    view::View,
};
use anyhow::{Result, ensure};
use std::io::Write;

/// How many details of a reason people see, unless they ask for another number.
const FEW: usize = 10;

/// Prints the reasons of a snapshot and their details.
///
/// # Errors
///
/// If details are not recorded, or something is selected that does not exist.
pub fn print(
    snapshot: &Snapshot,
    selection: &Selection,
    show: &Show,
    is_file: bool,
    out: &mut impl Write,
) -> Result<()> {
    ensure!(
        snapshot.origin.is_host(),
        "a guest cannot see details: run exitprof on its host"
    );
    let by_detail = Selection {
        by: By::Detail,
        top: None,
        // Details have no histograms.
        sort: match selection.sort {
            sort if sort.is_of_histogram() => Sort::Exits,
            sort => sort,
        },
        ..selection.clone()
    };
    let (reasons, rows) = (
        View::new(snapshot, selection)?,
        View::new(snapshot, &by_detail)?,
    );
    reasons.check_order(selection.sort)?;
    let format = show.format();
    let most = match (selection.top, format.is_for_people()) {
        (Some(top), _) => top,
        (None, true) => FEW,
        (None, false) => usize::MAX,
    };
    let lines = details::lines(&reasons, &rows, most, &selection.names);
    let grid = details::grid(&lines);
    let facts = facts::DetailReport::new(snapshot, &reasons);
    let unit = show.unit(snapshot);
    let mut sheet = details::sheet(&grid, &facts, snapshot, selection, &reasons, unit);
    if is_file || format == Format::Markdown {
        sheet.title.extend(words::recorded(snapshot));
    }
    format.exporter().sheet(&sheet, out)
}
