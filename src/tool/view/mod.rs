// SPDX-License-Identifier: GPL-2.0

//! The selected rows of a snapshot, with shares, averages and percentiles.

mod sum;

use crate::{
    parts::parts,
    select::{Key, Reason, Selection, Sort, What},
    snapshot::{
        Owner, Snapshot,
        detail::{Detail, Place},
        histogram::percentile,
        id::Id,
    },
};
use anyhow::{Context, Result, ensure};
use foldhash::HashMap;
use profile::histogram::{Histogram, bounds};
use std::{cmp::Ordering, sync::Arc};
pub use sum::{Nested, Sum};

/// The selected rows.
#[derive(Clone, Debug)]
pub struct View {
    /// All of them, sorted.
    pub rows: Vec<Row>,
    /// How many to show.
    pub top: usize,
    /// All exits of the selected guests, VM or vCPUs, of any reason: shares refer to it.
    pub total: Sum,
    /// Those of the selected reasons.
    pub selected: Sum,
}

/// A row. Times are in cycles. What the fields mean, [`columns`](crate::columns) tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The VM, if the row is of one.
    pub vm: Option<Arc<str>>,
    /// The vCPU, if the row is of one.
    pub vcpu: Option<u32>,
    /// The reason's number, if the row is of one with a number.
    pub reason: Option<u32>,
    /// The name.
    pub name: Arc<str>,
    /// The number of exits.
    pub exits: u128,
    /// Their share of all exits.
    pub exits_percent: Option<f64>,
    /// The cycles of the timed exits.
    pub cycles: u128,
    /// Their share of all cycles.
    pub time_percent: Option<f64>,
    /// The cycles of the fastest exit.
    pub min: Option<u64>,
    /// The cycles of the slowest exit.
    pub max: Option<u64>,
    /// The average.
    pub avg: Option<f64>,
    /// The median.
    pub p50: Option<u64>,
    /// The 90th percentile.
    pub p90: Option<u64>,
    /// The 99th percentile.
    pub p99: Option<u64>,
    /// The number of exits that were not timed, if that is known.
    pub untimed: Option<u128>,
    /// Tells vCPUs of the same name apart, if the source has identities.
    pub id: Option<Id>,
    /// The owner, if the row is of a VM or vCPU and a reason.
    pub owner: Option<Arc<str>>,
    /// The VM's name, if the row is of one and it has a name.
    pub vm_name: Option<String>,
    /// The buckets of the histogram, from the first to the last that has exits: lowest and
    /// highest cycles, and exits.
    pub buckets: Vec<(u64, u64, u64)>,
    /// The detail or place, if the row is of one.
    pub what: Option<What>,
    /// How many of the others may belong here, too, if the row is of a detail or place.
    pub error: Option<u128>,
    /// Those that came from nested guests, if the source says.
    pub nested: Option<Nested>,
}

impl Row {
    /// The detail, if the row is of one.
    pub fn detail(&self) -> Option<Detail> {
        match self.what {
            Some(What::Detail(detail)) => Some(detail),
            _ => None,
        }
    }

    /// The place in the guest's code, if the row is of one.
    pub fn place(&self) -> Option<Place> {
        match self.what {
            Some(What::Place(place)) => Some(place),
            _ => None,
        }
    }

    /// The level of the guests, if the row is of a detail or place.
    pub fn level(&self) -> Option<u32> {
        let detail = self.detail().map(|detail| detail.level);
        let level = detail.or_else(|| Some(self.place()?.level))?;
        Some(level.into())
    }

    /// What identifies the row.
    pub fn key(&self) -> Key {
        Key {
            vm: self.vm.clone(),
            vcpu: self.vcpu,
            id: self.id,
            owner: self.owner.clone(),
            reason: self.reason,
            what: self.what,
            name: self.name.clone(),
        }
    }
}

impl View {
    /// Makes the rows that `selection` selects of `snapshot`.
    ///
    /// # Errors
    ///
    /// If it selects something that does not exist.
    pub fn new(snapshot: &Snapshot, selection: &Selection) -> Result<View> {
        selection.check(&[snapshot])?;
        View::of_part(snapshot, selection)
    }

    /// The same of a snapshot that may lack something that is selected: VMs end, and not all
    /// reasons occur all the time.
    ///
    /// # Errors
    ///
    /// If the measurement overhead is to be subtracted, but is not known.
    pub fn of_part(snapshot: &Snapshot, selection: &Selection) -> Result<View> {
        let of_level = selection.level.map(|level| snapshot.at_level(level));
        let of_level = of_level.transpose()?;
        let snapshot = of_level.as_ref().unwrap_or(snapshot);
        let overhead = match (selection.net, snapshot.account) {
            (false, _) => 0,
            (true, account) => {
                account
                    .context("only the host knows the measurement overhead: leave out --net")?
                    .sample_cycles
            }
        };
        let reasons = selection.selected_reasons(snapshot);
        let shown = selection.keys(snapshot).into_iter();
        let mut sums: HashMap<Key, (Sum, Option<&Histogram>)> =
            shown.map(|key| (key, Default::default())).collect();
        let mut total = Sum::default();
        let mut selected = Sum::default();
        // Counters of an owner mostly follow each other.
        let mut last: Option<(&Owner, Key)> = None;
        let counters = snapshot.counters.iter();
        for counter in counters.filter(|c| selection.has_owner(&c.owner, snapshot)) {
            let nested = snapshot.nested(counter);
            total.add(counter, nested, overhead);
            let is_selected =
                |reasons: &Vec<Reason>| reasons.iter().any(|r| r.is_counted_by(counter));
            if !reasons.as_ref().is_none_or(is_selected) {
                continue;
            }
            selected.add(counter, nested, overhead);
            let (_, owner) = match last.take_if(|(owner, _)| *owner == &counter.owner) {
                Some(same) => last.insert(same),
                None => last.insert((&counter.owner, selection.owner_key(&counter.owner))),
            };
            let (sum, histogram) = sums.entry(selection.key(owner, counter)).or_default();
            // A row of several counters has no histogram.
            *histogram = counter.histogram.as_deref().filter(|_| sum.exits == 0);
            sum.add(counter, nested, overhead);
        }
        if selection.by.is_of_keys() {
            let parts = parts(snapshot, selection)?.into_iter();
            sums = parts
                .map(|(key, part)| (key, (part.into(), None)))
                .collect();
        }

        let row = |(key, (sum, histogram)): (Key, (Sum, Option<&Histogram>))| {
            let histogram = histogram.filter(|_| sum.exits > 0);
            // Some recordings have no cycles at all.
            let has_times = sum.timed > 0 && (sum.cycles > 0 || histogram.is_some());
            let unknown = sum.timed == 0 && sum.exits > 0;
            let net = |cycles: u64| cycles.saturating_sub(overhead);
            Row {
                vm_name: (key.vm.as_ref()).and_then(|vm| snapshot.vm_names.get(&**vm).cloned()),
                vm: key.vm,
                vcpu: key.vcpu,
                reason: key.reason,
                name: key.name,
                exits: sum.exits,
                exits_percent: percent(sum.exits, total.exits),
                cycles: sum.cycles,
                time_percent: percent(sum.cycles, total.cycles).filter(|_| !unknown),
                min: histogram.map(|h| net(h.min)),
                max: histogram.map(|h| net(h.max)),
                avg: has_times.then(|| sum.cycles as f64 / sum.timed as f64),
                p50: histogram.and_then(|h| percentile(h, 50.0)).map(net),
                p90: histogram.and_then(|h| percentile(h, 90.0)).map(net),
                p99: histogram.and_then(|h| percentile(h, 99.0)).map(net),
                untimed: sum.untimed,
                id: key.id,
                owner: key.owner,
                buckets: histogram.map_or_else(Vec::new, |h| buckets(h, overhead)),
                what: key.what,
                error: sum.error,
                nested: sum.nested,
            }
        };
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut rows: Vec<Row> = sums.into_iter().map(row).collect();
        // The sort is stable: rows that are equal stay in the order of their keys. What is in no
        // other row comes last.
        let is_others = |row: &Row| row.what == Some(What::Others);
        rows.sort_by(|a, b| {
            let others = is_others(a).cmp(&is_others(b));
            others.then_with(|| selection.sort.order(a, b))
        });
        Ok(View {
            rows,
            top: selection.top.unwrap_or(usize::MAX),
            total,
            selected,
        })
    }

    /// A view whose only row is the sum of all that is selected.
    ///
    /// # Errors
    ///
    /// As of [`View::of_part`].
    pub fn sum(snapshot: &Snapshot, selection: &Selection) -> Result<View> {
        let view = View::of_part(snapshot, selection)?;
        let Sum { exits, cycles, .. } = view.selected;
        let row = Row {
            name: "all".into(),
            exits,
            exits_percent: percent(exits, view.total.exits),
            cycles,
            time_percent: percent(cycles, view.total.cycles),
            avg: view.selected.avg(),
            untimed: view.selected.untimed,
            ..Row::default()
        };
        Ok(View {
            rows: vec![row],
            top: usize::MAX,
            ..view
        })
    }

    /// Checks that the rows have the figure to sort by.
    ///
    /// # Errors
    ///
    /// If they do not: says why, and what to sort by instead.
    pub fn check_order(&self, sort: Sort) -> Result<()> {
        let known = |row: &Row| !sort.is_of_histogram() || row.max.is_some();
        ensure!(
            self.rows.iter().all(|row| row.exits == 0) || self.rows.iter().any(known),
            "there is no such column: only the reasons of all guests have histograms, on a host \
             whose module keeps them (module parameter histograms): sort by exits, time or avg"
        );
        Ok(())
    }

    /// The exits of all rows per second, if it is known how many seconds were counted.
    pub fn rate(&self, seconds: Option<f64>) -> Option<f64> {
        seconds.map(|seconds| self.selected.exits as f64 / seconds)
    }

    /// The rows to show.
    pub fn shown(&self) -> &[Row] {
        &self.rows[..self.rows.len().min(self.top)]
    }
}

impl Sort {
    fn order(self, a: &Row, b: &Row) -> Ordering {
        let by = |key: fn(&Row) -> Option<u64>| key(b).cmp(&key(a));
        match self {
            Sort::Exits => b.exits.cmp(&a.exits),
            Sort::Time => b.cycles.cmp(&a.cycles),
            Sort::Avg => b.avg.partial_cmp(&a.avg).unwrap_or(Ordering::Equal),
            Sort::P50 => by(|row| row.p50),
            Sort::P90 => by(|row| row.p90),
            Sort::P99 => by(|row| row.p99),
            Sort::Max => by(|row| row.max),
            Sort::Min => by(|row| row.min),
            Sort::Reason => Ordering::Equal,
        }
    }
}

/// `part` of `whole` in percent; `None` if `whole` is 0.
pub fn percent(part: u128, whole: u128) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

/// The change from `a` to `b` in percent; infinite if there was nothing before.
pub fn change(a: f64, b: f64) -> f64 {
    match (a, b) {
        (0.0, 0.0) => 0.0,
        (a, b) => (b / a - 1.0) * 100.0,
    }
}

/// The buckets of a histogram, less `overhead` cycles for each exit, from the first to the last
/// that has exits.
fn buckets(histogram: &Histogram, overhead: u64) -> Vec<(u64, u64, u64)> {
    let is_taken = |&exits: &u64| exits > 0;
    let first = histogram.buckets.iter().position(is_taken).unwrap_or(0);
    let last = histogram.buckets.iter().rposition(is_taken);
    let all = histogram.buckets.iter().enumerate().skip(first);
    let net = |cycles: u64| cycles.saturating_sub(overhead);
    all.take_while(|&(bucket, _)| last.is_some_and(|last| bucket <= last))
        .map(|(bucket, &exits)| match bounds(bucket) {
            (from, u64::MAX) => (net(from), u64::MAX, exits),
            (from, to) => (net(from), net(to), exits),
        })
        .collect()
}
