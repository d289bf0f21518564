// SPDX-License-Identifier: GPL-2.0

//! A row of the table of exits that the host's log, debugfs and the tool print.

use core::fmt;

/// A row: reason, name, exits, cycles.
pub struct TableRow<R, N, E, C>(pub R, pub N, pub E, pub C);

impl TableRow<&'static str, &'static str, &'static str, &'static str> {
    /// The head of the table.
    pub const HEAD: Self = TableRow("reason", "name", "exits", "cycles");
}

impl<R, N, E, C> fmt::Display for TableRow<R, N, E, C>
where
    R: fmt::Display,
    N: fmt::Display,
    E: fmt::Display,
    C: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TableRow(reason, name, exits, cycles) = self;
        write!(f, "{reason:>6} {name:<25} {exits:>12} {cycles:>17}")
    }
}
