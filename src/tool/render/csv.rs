// SPDX-License-Identifier: GPL-2.0

//! Writes CSV: a line of column names, and a line for each row of an export.

use super::Export;
use anyhow::Result;
use csv::Writer;
use std::io::Write;

/// A column: its name, and its field in a row `R`.
pub type Column<R> = (&'static str, fn(&R) -> String);

/// The field for a value, empty if it is unknown.
pub fn optional<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(String::new, T::to_string)
}

/// Writes the column names.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn head<E: Export>(out: &mut impl Write) -> Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(E::columns())?;
    writer.flush()?;
    Ok(())
}

/// Writes the rows, without the column names.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn rows(export: &impl Export, out: &mut impl Write) -> Result<()> {
    let mut writer = Writer::from_writer(out);
    for record in export.records() {
        writer.write_record(record)?;
    }
    writer.flush()?;
    Ok(())
}

/// Writes the column names and the rows.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn write<E: Export>(export: &E, out: &mut impl Write) -> Result<()> {
    head::<E>(out)?;
    rows(export, out)
}
