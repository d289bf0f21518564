// SPDX-License-Identifier: GPL-2.0

//! CSV: a line of names, and one for each row of an export.

use super::Export;
use anyhow::Result;
use csv::Writer;
use std::io::Write;

/// A column of rows `R`: its name, and its field of a row.
pub type Column<R> = (&'static str, fn(&R) -> String);

/// The field of a value that may be unknown.
pub fn optional<T: ToString>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(String::new, T::to_string)
}

/// Prints the columns' names.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn head<E: Export>(out: &mut impl Write) -> Result<()> {
    let mut writer = Writer::from_writer(out);
    writer.write_record(E::columns())?;
    writer.flush()?;
    Ok(())
}

/// Prints the rows, without the names.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn rows(export: &impl Export, out: &mut impl Write) -> Result<()> {
    let mut writer = Writer::from_writer(out);
    for record in export.records() {
        writer.write_record(record)?;
    }
    writer.flush()?;
    Ok(())
}

/// Prints the names and the rows.
///
/// # Errors
///
/// If `out` takes nothing.
pub fn write<E: Export>(export: &E, out: &mut impl Write) -> Result<()> {
    head::<E>(out)?;
    rows(export, out)
}
