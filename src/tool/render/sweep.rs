// SPDX-License-Identifier: GPL-2.0

//! The table of what the leaves of each reason answer.

use super::{
    facts::VERSION,
    grid::{Column, Grid, Rows},
    sheet::{Look, Sheet, Shown, Times, instead},
    units::Unit,
};
use crate::columns;
use profile::{isa::Isa, table::TableRow};
use schemars::JsonSchema;
use serde::Serialize;
use std::io::{self, Write};

/// The answers for a reason.
#[derive(Clone, Debug)]
pub struct Swept {
    /// The reason; none if it is the sum of hidden ones.
    pub reason: Option<u32>,
    /// Its number as the instruction set's manuals write it.
    pub number: String,
    /// Its name.
    pub name: String,
    /// Whether it is defined, and KVM handles it.
    pub status: &'static str,
    /// The exits and their cycles, if the leaves tell.
    pub counted: Option<(u64, u64)>,
}

/// What `sweep` prints: a line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Sweep")]
pub struct Facts {
    /// Version of the format: 3, as of `report`.
    version: u32,
    /// The instruction set that the reasons belong to.
    #[schemars(with = "crate::snapshot::shape::Isa")]
    isa: Isa,
}

impl Facts {
    /// What is known of the answers.
    pub fn new(isa: Isa) -> Facts {
        let version = VERSION;
        Facts { version, isa }
    }
}

/// The table.
pub fn grid(rows: &[Swept]) -> Rows<'_, Swept> {
    let columns = columns();
    Rows { columns, rows }
}

/// The columns.
pub fn columns<'a>() -> Vec<Column<'a, Swept>> {
    vec![
        Column::new(&columns::REASON, |row: &Swept| row.reason),
        Column::new(&columns::NAME, |row: &Swept| row.name.clone()),
        Column::new(&columns::STATUS, |row: &Swept| row.status),
        Column::new(&columns::WHOLE_EXITS, |row: &Swept| {
            row.counted.map(|(exits, _)| exits)
        }),
        Column::new(&columns::CYCLES, |row: &Swept| {
            row.counted.map(|(_, cycles)| cycles)
        }),
    ]
}

/// A sheet of that table.
pub fn sheet<'a>(
    grid: &'a dyn Grid,
    facts: &'a dyn erased_serde::Serialize,
    width: usize,
) -> Sheet<'a> {
    let heads = grid.heads();
    let shown = heads.iter().enumerate().map(|(column, head)| Shown {
        column,
        label: head.meta.label.into(),
        over: String::new(),
        need: u8::MAX,
    });
    Sheet {
        instead: instead(None),
        facts,
        reading: None,
        grid,
        shown: shown.collect(),
        look: Look {
            times: Times::Of(Unit::Cycles),
            width,
            bar: None,
        },
        title: Vec::new(),
        notes: Vec::new(),
    }
}

/// Prints the table as the host's log has it.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn table(rows: &[Swept], out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", TableRow::HEAD)?;
    for row in rows {
        let name = if row.reason.is_some() { &row.name } else { "" };
        match row.counted {
            Some((exits, cycles)) => {
                writeln!(out, "{}", TableRow(&row.number, name, exits, cycles))?;
            }
            None => writeln!(out, "{}", TableRow(&row.number, name, row.status, ""))?,
        }
    }
    Ok(())
}
