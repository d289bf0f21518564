// SPDX-License-Identifier: GPL-2.0

//! What was counted in each interval of a series: rates, phases, or a heat map.

use super::{
    Picture,
    axis::Quantity,
    chart::{
        Chart,
        grid::{Columns, Grid},
        lines::Lines,
        timed::Time,
    },
    exits::in_unit,
    names, phases,
    style::{GREY, LINES},
};
use crate::{
    budget::{self, Breakdown},
    render::units::Unit,
    select::{By, Key, Selection, Sort},
    snapshot::{Snapshot, TimeOf},
    view::View,
};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// How many lines there are, unless people ask for another number, besides that of the others.
const FEW: usize = 6;

/// What was counted in successive intervals.
#[derive(Debug)]
pub struct Timeline<'a> {
    selection: &'a Selection,
    /// From when to when each interval was, in seconds since the start.
    intervals: Vec<(f64, f64)>,
    /// The rate of each row in each interval.
    rates: Vec<BTreeMap<Key, f64>>,
    /// The names of VMs.
    vm_names: BTreeMap<String, String>,
    /// Where the time went in each interval.
    budgets: Vec<budget::Time>,
    /// The unit of the last snapshot, and what its times are.
    unit: Unit,
    time_of: TimeOf,
}

impl<'a> Timeline<'a> {
    /// No intervals yet, of the rows that `selection` selects.
    pub fn new(selection: &'a Selection) -> Timeline<'a> {
        Timeline {
            selection,
            intervals: Vec::new(),
            rates: Vec::new(),
            vm_names: BTreeMap::new(),
            budgets: Vec::new(),
            unit: Unit::Cycles,
            time_of: TimeOf::Handler,
        }
    }

    /// Adds what was counted in an interval, which is not before the last one.
    ///
    /// # Errors
    ///
    /// If something is selected that the snapshot cannot have.
    pub fn add(&mut self, interval: (f64, f64), added: &Snapshot, unit: Unit) -> Result<()> {
        let (from, to) = interval;
        let seconds = to - from;
        if seconds <= 0.0 {
            return Ok(());
        }
        let rate = |exits: u128, cycles: u128| match (self.selection.sort, unit) {
            (Sort::Time, Unit::Cycles) => cycles as f64 / seconds,
            (Sort::Time, Unit::Time(_)) => in_unit(cycles, unit) / seconds / 1e9 * 100.0,
            _ => exits as f64 / seconds,
        };
        let view = View::of_part(added, self.selection)?;
        let rows = view.rows.iter();
        let rates = rows.map(|row| (row.key(), rate(row.exits, row.cycles)));
        self.rates.push(rates.collect());
        self.intervals.push(interval);
        self.budgets
            .push(Breakdown::of_part(added, self.selection).time);
        self.vm_names.extend(added.vm_names.clone());
        (self.unit, self.time_of) = (unit, added.origin.time_of());
        Ok(())
    }

    /// The rates of the rows with the most exits, or time, as lines.
    ///
    /// # Errors
    ///
    /// If nothing was counted.
    pub fn rates(&self) -> Result<Picture> {
        let mut sums = self.sums();
        sums.retain(|_, sum| *sum > 0.0);
        ensure!(!sums.is_empty(), "nothing was counted in that time");
        let mut keys: Vec<(&Key, f64)> = sums.into_iter().collect();
        keys.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let top = self.selection.top.unwrap_or(FEW).max(1);
        // A line of the others says no more than that of one other.
        let shown = if keys.len() <= top + 1 {
            keys.len()
        } else {
            top
        };
        let keys: Vec<&Key> = keys.into_iter().map(|(key, _)| key).collect();
        let (keys, others) = keys.split_at(shown);
        let sum = |keys: &[&Key]| {
            let rates = self.rates.iter();
            let of = |rates: &BTreeMap<Key, f64>, key: &Key| rates.get(key).copied().unwrap_or(0.0);
            let sums = rates.map(|rates| keys.iter().map(|key| of(rates, key)).sum());
            sums.collect::<Vec<f64>>()
        };
        let named = self.names(keys).into_iter().zip(keys).enumerate();
        let mut lines: Vec<_> = named
            .map(|(number, (name, &key))| {
                let colour = LINES[(number + number / LINES.len()) % LINES.len()];
                (name, colour, sum(&[key]))
            })
            .collect();
        if !others.is_empty() {
            lines.push((format!("{} others", others.len()), GREY, sum(others)));
        }
        let (quantity, heading) = self.figure();
        let chart = Lines {
            heading,
            quantity,
            time: self.time(),
            lines,
        };
        Ok(Picture::new(self.title(), Chart::Lines(chart)))
    }

    /// The rates of all rows, as a heat map.
    ///
    /// # Errors
    ///
    /// If there are no rows.
    pub fn heat_map(&self) -> Result<Picture> {
        let sums = self.sums();
        // Reasons without exits would only take room, but a vCPU that rests does not.
        let is_owner = matches!(self.selection.by, By::Vm | By::Vcpu);
        let mut all: Vec<(&Key, f64)> = sums.into_iter().collect();
        all.retain(|(_, sum)| is_owner || *sum > 0.0);
        ensure!(!all.is_empty(), "nothing was counted in that time");
        if !is_owner {
            all.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        }
        all.truncate(self.selection.top.unwrap_or(usize::MAX));
        let all: Vec<&Key> = all.into_iter().map(|(key, _)| key).collect();
        let cells: Vec<Vec<Option<f64>>> = (all.iter())
            .map(|&key| {
                let rates = self.rates.iter();
                rates.map(|rates| rates.get(key).copied()).collect()
            })
            .collect();
        let is_known = self.time().runs().len() == 1 && cells.iter().flatten().all(Option::is_some);
        let (quantity, heading) = self.figure();
        let chart = Grid {
            heading,
            quantity,
            rows: self.names(&all),
            columns: Columns::Timed(self.time()),
            cells,
        };
        let mut picture = Picture::new(self.title(), Chart::Grid(chart));
        if !is_known {
            picture
                .notes
                .push("Grey: there was no such counter, or nothing is known".into());
        }
        Ok(picture)
    }

    /// Where the time went, until `last`.
    ///
    /// # Errors
    ///
    /// If phases were not recorded.
    pub fn phases(&self, last: &Snapshot) -> Result<Picture> {
        ensure!(
            self.budgets.iter().any(|budget| budget.elapsed > 0),
            "there are no phases: {}",
            budget::switch_on(last)
        );
        Ok(phases::over_time(self.time(), &self.budgets))
    }

    /// The exits, or the time, of each row in all intervals.
    fn sums(&self) -> BTreeMap<&Key, f64> {
        let mut sums: BTreeMap<&Key, f64> = BTreeMap::new();
        for ((from, to), rates) in self.intervals.iter().zip(&self.rates) {
            for (key, rate) in rates {
                *sums.entry(key).or_default() += rate * (to - from);
            }
        }
        sums
    }

    fn time(&self) -> Time {
        Time {
            intervals: self.intervals.clone(),
            seconds: self.intervals.last().map_or(0.0, |(_, to)| *to),
        }
    }

    fn names(&self, keys: &[&Key]) -> Vec<String> {
        let vm_name = |key: &Key| self.vm_names.get(key.vm.as_deref()?).map(String::as_str);
        names::names(keys.iter().map(|key| (*key, vm_name(key))))
    }

    fn title(&self) -> &'static str {
        match (self.selection.sort, self.time_of) {
            (Sort::Time, TimeOf::Handler) => "Time that KVM takes to handle VM exits",
            (Sort::Time, TimeOf::ExitToEntry) => "Time from VM exits to the next entry",
            _ => "Rates of VM exits",
        }
    }

    /// What the numbers are.
    fn figure(&self) -> (Quantity, String) {
        let measured = names::measured(self.time_of);
        match (self.selection.sort, self.unit) {
            (Sort::Time, Unit::Cycles) => {
                (Quantity::CycleRate, format!("Cycles {measured} per second"))
            }
            (Sort::Time, Unit::Time(_)) => (
                Quantity::Percent,
                format!("Time {measured}, in percent of one CPU's"),
            ),
            _ => (Quantity::Rate, "Exits per second".into()),
        }
    }
}
