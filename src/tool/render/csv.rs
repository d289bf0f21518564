// SPDX-License-Identifier: GPL-2.0

//! CSV: a line of column names, and a line for each row.

use super::{
    grid::{Grid, Value},
    sheet::{Exporter, Sheet},
};
use crate::columns::Kind;
use anyhow::Result;
use std::io::Write;

/// Writes CSV.
#[derive(Debug, Default)]
pub struct Csv {
    /// Whether the column names have been written.
    has_head: bool,
}

impl Exporter for Csv {
    fn go_on(&mut self) {
        self.has_head = true;
    }

    fn begin(&mut self, grid: &dyn Grid, out: &mut dyn Write) -> Result<()> {
        if !self.has_head {
            let heads = grid.heads();
            let heads = heads.iter().filter(|head| head.is_for_programs());
            let mut writer = csv::Writer::from_writer(out);
            writer.write_record(heads.map(|head| head.name()))?;
            writer.flush()?;
        }
        self.has_head = true;
        Ok(())
    }

    fn sheet(&mut self, sheet: &Sheet<'_>, out: &mut dyn Write) -> Result<()> {
        let grid = sheet.grid;
        self.begin(grid, out)?;
        let heads = grid.heads();
        let columns: Vec<usize> = (0..heads.len())
            .filter(|&column| heads[column].is_for_programs())
            .collect();
        let mut writer = csv::Writer::from_writer(out);
        for row in 0..grid.len() {
            let fields = columns.iter().map(|&column| {
                match (heads[column].meta.kind, grid.value(row, column)) {
                    // To the microsecond, so that lines sort.
                    (Kind::Seconds, Value::Real(seconds)) => format!("{seconds:.6}"),
                    (_, value) => value.to_string(),
                }
            });
            writer.write_record(fields)?;
        }
        writer.flush()?;
        Ok(())
    }
}
