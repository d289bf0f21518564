// SPDX-License-Identifier: GPL-2.0

//! The histogram of a row, as bars.

use super::{
    table::bar,
    units::{self, Unit},
};
use crate::view::{Row, percent};

/// So many columns are needed for both bounds.
const NARROW: usize = 30;

/// A histogram.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Minimum, percentiles and maximum, and what was not timed.
    pub summary: Vec<String>,
    /// The headings.
    pub head: String,
    /// Of each bucket, its bounds and exits, and its bar.
    pub buckets: Vec<(String, String)>,
}

impl Histogram {
    /// That of `row` in `width` columns; `None` if it has none.
    pub fn of(row: &Row, unit: Unit, width: usize) -> Option<Histogram> {
        row.buckets.first()?;
        let exits: u128 = row.buckets.iter().map(|&(.., n)| u128::from(n)).sum();
        let show = |cycles: u64| unit.show(cycles as f64);
        let known = |cycles: Option<u64>| cycles.map_or("-".into(), show);
        let unit_name = match unit {
            Unit::Cycles => " (cycles)",
            Unit::Time(_) => "",
        };
        let mut summary = vec![format!(
            "{}: min {}, p50 {}, p90 {}, p99 {}, max {}{unit_name}",
            units::counted(exits, "exit", "exits"),
            known(row.min),
            known(row.p50),
            known(row.p90),
            known(row.p99),
            known(row.max),
        )];
        if let Some(untimed @ 1..) = row.untimed {
            summary.push(format!("{} more, not timed", units::grouped(untimed)));
        }
        // Without room for more, a bucket is where it begins.
        let is_narrow = width < NARROW;
        let head = match is_narrow {
            true => format!("{:>6} {:>8}", "from", "Exits"),
            false => format!("{:>6}   {:>6} {:>8}", "from", "below", "Exits"),
        };
        let room = width.saturating_sub(head.len() + 1);
        let most = row.buckets.iter().map(|&(.., n)| n).max().unwrap_or(0);
        let line = |&(from, to, exits): &(u64, u64, u64)| {
            let below = match to {
                u64::MAX => String::new(),
                to => show(to.saturating_add(1)),
            };
            let (from, exits_shown) = (show(from), units::count(exits as f64, 8));
            let figures = match is_narrow {
                true => format!("{from:>6} {exits_shown:>8}"),
                false => format!("{from:>6} - {below:>6} {exits_shown:>8}"),
            };
            (figures, bar(percent(exits.into(), most.into()), room))
        };
        Some(Histogram {
            summary,
            head,
            buckets: row.buckets.iter().map(line).collect(),
        })
    }

    /// It, below `name`.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let buckets = self.buckets.iter();
        let buckets = buckets.map(|(figures, bar)| format!("{figures} {bar}").trim_end().into());
        [name.into()]
            .into_iter()
            .chain(self.summary.clone())
            .chain([self.head.clone()])
            .chain(buckets)
            .collect()
    }
}
