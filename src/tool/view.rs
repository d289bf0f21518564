// SPDX-License-Identifier: GPL-2.0

//! A snapshot as rows with shares, averages and percentiles.

use crate::{
    id::Id,
    select::{Key, Selection, Sort},
    snapshot::{Histogram, Snapshot},
};
use anyhow::{Context, Result, ensure};
use kvm_exitprof::profile::counts::Tally;
use serde::Serialize;
use std::{cmp::Ordering, collections::BTreeMap};

/// The rows that were selected.
#[derive(Clone, Debug)]
pub struct View {
    /// In the order that was wanted, and all of them.
    pub rows: Vec<Line>,
    /// How many to show.
    pub top: usize,
    /// All exits of the guests, VM or vCPUs that were selected, of any reason: what
    /// shares are shares of.
    pub total: Tally,
}

/// A row, as JSON and CSV have it: all times are in cycles.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Line {
    /// The VM, if it is of one.
    pub vm: Option<String>,
    /// The vCPU, if it is of one.
    pub vcpu: Option<u32>,
    /// The reason's number, if it is of one that has a number.
    pub reason: Option<u32>,
    /// What it is called.
    pub name: String,
    /// How many exits.
    pub samples: u64,
    /// Their share of all.
    pub samples_percent: Option<f64>,
    /// The cycles that they took.
    pub cycles: u64,
    /// Their share of all.
    pub time_percent: Option<f64>,
    /// The least of an exit.
    pub min: Option<u64>,
    /// The most of an exit.
    pub max: Option<u64>,
    /// The average of an exit.
    pub avg: Option<f64>,
    /// What half of the exits did not exceed.
    pub p50: Option<u64>,
    /// What 99 of 100 exits did not exceed.
    pub p99: Option<u64>,
    /// What tells this vCPU from another of the same name, if that is known.
    pub id: Option<Id>,
}

impl View {
    /// What `selection` selects of `snapshot`.
    ///
    /// # Errors
    ///
    /// If it asks for something that does not exist.
    pub fn new(snapshot: &Snapshot, selection: &Selection) -> Result<View> {
        selection.check_owners(snapshot)?;
        let overhead = match (selection.net, snapshot.account) {
            (false, _) => 0,
            (true, account) => account
                .context(
                    "what a measurement adds is not known here, but on the host: leave out --net",
                )?
                .sample_cycles,
        };
        let net = |tally: Tally| Tally {
            cycles: (tally.cycles).saturating_sub(tally.exits.saturating_mul(overhead)),
            ..tally
        };

        let wanted = selection.wanted_reasons(snapshot)?;
        let mut sums: BTreeMap<Key, (Tally, Option<&Histogram>)> = BTreeMap::new();
        for key in selection.keys(snapshot)? {
            sums.entry(key).or_default();
        }
        let mut total = Tally::default();
        for row in snapshot
            .rows
            .iter()
            .filter(|row| selection.wants_owner(&row.owner))
        {
            total = total + net(row.tally());
            if (wanted.as_ref()).is_some_and(|wanted| !wanted.iter().any(|w| w.is_of(row))) {
                continue;
            }
            let (sum, histogram) = sums.entry(selection.key(row)).or_default();
            // That of one row is not that of several.
            *histogram = row.histogram.as_ref().filter(|_| sum.exits == 0);
            *sum = *sum + net(row.tally());
        }

        let line = |(key, (sum, histogram)): (Key, (Tally, Option<&Histogram>))| {
            let took = sum.exits > 0 && (sum.cycles > 0 || histogram.is_some());
            let spread = |cycles: u64| cycles.saturating_sub(overhead);
            let histogram = histogram.filter(|_| sum.exits > 0);
            Line {
                vm: key.vm,
                vcpu: key.vcpu,
                reason: key.reason,
                name: key.name,
                samples: sum.exits,
                samples_percent: percent(sum.exits, total.exits),
                cycles: sum.cycles,
                time_percent: percent(sum.cycles, total.cycles),
                min: histogram.map(|d| spread(d.min)),
                max: histogram.map(|d| spread(d.max)),
                avg: took.then(|| sum.cycles as f64 / sum.exits as f64),
                p50: histogram.and_then(|d| d.percentile(50.0)).map(spread),
                p99: histogram.and_then(|d| d.percentile(99.0)).map(spread),
                id: key.id,
            }
        };
        let mut rows: Vec<Line> = sums.into_iter().map(line).collect();
        // Those that are alike stay in the order of their keys.
        rows.sort_by(|a, b| selection.sort.order(a, b));
        Ok(View {
            rows,
            top: selection.top.unwrap_or(usize::MAX),
            total,
        })
    }

    /// Whether there is something to sort by.
    ///
    /// # Errors
    ///
    /// If rows have no such figure: says why, and by what to sort.
    pub fn check_order(&self, sort: Sort) -> Result<()> {
        let known = |line: &Line| match sort {
            Sort::P50 | Sort::P99 | Sort::Max | Sort::Min => line.max.is_some(),
            _ => true,
        };
        ensure!(
            self.rows.iter().all(|line| line.samples == 0) || self.rows.iter().any(known),
            "there is no such column to sort by: only the reasons of all guests have histograms, \
             on a host whose module keeps them (its parameter histograms): sort by samples, time or avg"
        );
        Ok(())
    }

    /// The rows to show.
    pub fn shown(&self) -> &[Line] {
        &self.rows[..self.rows.len().min(self.top)]
    }
}

impl Sort {
    fn order(self, a: &Line, b: &Line) -> Ordering {
        let by = |key: fn(&Line) -> Option<u64>| key(b).cmp(&key(a));
        match self {
            Sort::Samples => by(|line| Some(line.samples)),
            Sort::Time => by(|line| Some(line.cycles)),
            Sort::Avg => b.avg.partial_cmp(&a.avg).unwrap_or(Ordering::Equal),
            Sort::P50 => by(|line| line.p50),
            Sort::P99 => by(|line| line.p99),
            Sort::Max => by(|line| line.max),
            Sort::Min => by(|line| line.min),
            Sort::Reason => Ordering::Equal,
        }
    }
}

/// `part` of `whole`; `None` if that is nothing.
pub fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}
