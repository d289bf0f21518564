// SPDX-License-Identifier: GPL-2.0

//! What the screen shows, and what keys and readings change of it.

use crate::{
    continuity::Break,
    select::{By, Key, Selection, Sort},
    snapshot::{Counter, Origin, Owner, Snapshot},
    view::{Row, View},
};
use anyhow::{Error, Result};
use clap::ValueEnum;
use profile::histogram::Histogram;
use std::collections::HashMap;

/// What rows are sorted by, the most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Exits per second in the last interval
    #[default]
    Rate,
    /// Number of exits
    Samples,
    /// Cycles of all exits
    Time,
    /// Cycles of an exit on average
    Avg,
    /// Cycles that 99 of 100 exits did not exceed
    P99,
    /// Most cycles of an exit
    Max,
    /// Least cycles of an exit
    Min,
    /// Number of the reason, or name of the VM, the least first
    Reason,
}

impl Order {
    /// The order of rows since the baseline; those of a rate are then sorted by it.
    fn sort(self) -> Sort {
        match self {
            Order::Rate | Order::Samples => Sort::Samples,
            Order::Time => Sort::Time,
            Order::Avg => Sort::Avg,
            Order::P99 => Sort::P99,
            Order::Max => Sort::Max,
            Order::Min => Sort::Min,
            Order::Reason => Sort::Reason,
        }
    }

    /// The one that is `steps` further to the right.
    pub(super) fn next(self, steps: usize) -> Order {
        let all = Order::value_variants();
        let here = all.iter().position(|&order| order == self).unwrap_or(0);
        all[(here + steps) % all.len()]
    }

    pub(super) fn last(self) -> Order {
        self.next(Order::value_variants().len() - 1)
    }
}

/// A row of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveRow {
    /// What was counted since the baseline.
    pub since: Row,
    /// Exits per second in the last interval, if there was one.
    pub rate: Option<f64>,
}

impl LiveRow {
    pub(super) fn key(&self) -> Key {
        Key {
            vm: self.since.vm.clone(),
            vcpu: self.since.vcpu,
            id: self.since.id,
            reason: self.since.reason,
            name: self.since.name.clone(),
        }
    }
}

/// A list that was entered.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) selection: Selection,
    /// The row that keys act on; the first if it is none, or not there.
    pub(super) cursor: Option<Key>,
}

impl Place {
    pub(super) fn new(selection: Selection) -> Place {
        Place {
            selection,
            cursor: None,
        }
    }
}

/// What is shown in place of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// What the keys do.
    Help,
    /// The histogram of this reason.
    Histogram(Key),
}

/// All that the screen shows.
#[derive(Debug)]
pub struct State {
    baseline: Snapshot,
    now: Snapshot,
    /// What was counted between the last two readings, if these are comparable.
    interval: Option<Snapshot>,
    /// What was counted since the baseline.
    since: Snapshot,
    /// The lists that were entered, the present one last; never none.
    pub(super) places: Vec<Place>,
    /// What is sorted by.
    pub order: Order,
    /// Whether the least comes first.
    pub reversed: bool,
    /// Whether nothing is read now.
    pub paused: bool,
    /// What hides the list.
    pub overlay: Option<Overlay>,
    /// How many lines of that are scrolled out above, as far as it is longer than its
    /// room.
    pub scroll: usize,
    /// Why the last reading failed.
    pub error: Option<String>,
    /// What has happened since the last key.
    pub notice: Option<String>,
    /// The rows of the list.
    pub rows: Vec<LiveRow>,
    /// All exits per second in the last interval, and their cycles.
    pub total: Option<(f64, u128)>,
}

impl State {
    /// Begins with a reading as the baseline, and perhaps in a VM.
    ///
    /// # Errors
    ///
    /// If there is no such VM.
    pub fn new(first: Snapshot, order: Order, vm: Option<&str>) -> Result<State> {
        let mut places = vec![Place::new(Selection::everything())];
        if let Some(vm) = vm {
            let selection = Selection {
                vm: Some(vm.into()),
                ..Selection::everything()
            };
            selection.check_owners(&first)?;
            places[0].selection.by = By::Vm;
            places.push(Place::new(selection));
        }
        let mut state = State {
            since: first.since(&first)?,
            baseline: first.clone(),
            now: first,
            interval: None,
            places,
            order,
            reversed: false,
            paused: false,
            overlay: None,
            scroll: 0,
            error: None,
            notice: None,
            rows: Vec::new(),
            total: None,
        };
        state.refresh();
        Ok(state)
    }

    /// Takes what was read, or why nothing was.
    pub fn take(&mut self, read: Result<Snapshot>) {
        let now = match read {
            Ok(now) => now,
            Err(e) => {
                self.error = Some(in_one_line(&e));
                return;
            }
        };
        let was_away = self.error.take().is_some();
        let compare = || Ok((now.since(&self.now)?, now.since(&self.baseline)?));
        match compare() {
            Ok((interval, since)) => {
                (self.interval, self.since) = (Some(interval), since);
                self.now = now;
                if was_away {
                    self.notice = Some("The counters can be read again.".into());
                }
            }
            Err(why) => {
                let why: Break = why;
                self.now = now;
                self.rebase();
                self.interval = None;
                self.notice = Some(format!("New baseline: {why}."));
            }
        }
        self.refresh();
    }

    /// What the list is of.
    pub fn selection(&self) -> &Selection {
        &self.place().selection
    }

    /// What was read last.
    pub fn now(&self) -> &Snapshot {
        &self.now
    }

    /// What was counted between the last two readings.
    pub fn interval(&self) -> Option<&Snapshot> {
        self.interval.as_ref()
    }

    /// What was counted since the baseline.
    pub fn since(&self) -> &Snapshot {
        &self.since
    }

    /// The number of the row that keys act on.
    pub fn cursor(&self) -> usize {
        let cursor = self.place().cursor.as_ref();
        let at = |key: &Key| self.rows.iter().position(|row| row.key() == *key);
        cursor.and_then(at).unwrap_or(0)
    }

    /// The histogram of a reason since the baseline, and how many of its exits were not
    /// timed; or why that is not known.
    pub fn histogram(&self, key: &Key) -> Result<(&Histogram, u64), &'static str> {
        if self.now.origin != Origin::Host {
            return Err("A guest is not told of histograms.");
        }
        if self.selection().is_restricted() {
            return Err("There are histograms of all guests together, but not of one VM.");
        }
        let is_it = |counter: &&Counter| counter.reason == key.reason && counter.name == key.name;
        let counter = self.since.of(&Owner::All).find(is_it);
        let counter = counter.ok_or("No exit since the baseline.")?;
        let unknown = "The module keeps no histograms (its parameter histograms).";
        match &counter.histogram {
            Some(histogram) => Ok((histogram, counter.untimed.unwrap_or(0))),
            None if counter.timed() == 0 => Err("None of its exits was timed."),
            None => Err(unknown),
        }
    }

    fn place(&self) -> &Place {
        &self.places[self.places.len() - 1]
    }

    pub(super) fn place_mut(&mut self) -> &mut Place {
        let last = self.places.len() - 1;
        &mut self.places[last]
    }

    /// Makes the last reading the baseline.
    pub(super) fn rebase(&mut self) {
        self.baseline = self.now.clone();
        self.since.counters.clear();
        self.since.since_ns = Some(self.now.time_ns);
        self.since.time_ns = self.now.time_ns;
    }

    /// Computes the rows anew, of another list if the VM of this one is no more.
    pub(super) fn refresh(&mut self) {
        while let Err(e) = self.compute() {
            self.notice = Some(match self.selection() {
                Selection {
                    vm: Some(vm),
                    vcpu: Some(vcpu),
                    ..
                } => {
                    format!("vCPU {vcpu} of VM {vm} has ended.")
                }
                Selection { vm: Some(vm), .. } => format!("VM {vm} has ended."),
                _ => in_one_line(&e),
            });
            self.overlay = None;
            self.places.pop();
            if self.places.is_empty() {
                self.places.push(Place::new(Selection::everything()));
            }
        }
    }

    fn compute(&mut self) -> Result<()> {
        let selection = Selection {
            sort: self.order.sort(),
            ..self.selection().clone()
        };
        let since = View::new(&self.since, &selection)?;
        let mut rates = HashMap::new();
        let mut seconds = None;
        self.total = None;
        if let Some(interval) = &self.interval {
            let view = View::new(interval, &selection)?;
            seconds = interval.seconds();
            self.total = seconds.map(|s| (view.total.exits as f64 / s, view.total.cycles));
            let named = view.rows.into_iter();
            rates.extend(named.map(|row| ((row.name, row.reason, row.id), row.samples)));
        }
        let live = |row: Row| {
            let key = (row.name.clone(), row.reason, row.id);
            let samples = rates.get(&key).copied().unwrap_or(0);
            LiveRow {
                rate: seconds.map(|seconds| samples as f64 / seconds),
                since: row,
            }
        };
        self.rows = since.rows.into_iter().map(live).collect();
        if self.order == Order::Rate {
            let rate = |row: &LiveRow| row.rate.unwrap_or(0.0);
            self.rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
        }
        if self.reversed {
            self.rows.reverse();
        }
        Ok(())
    }
}

/// An error's causes, where there is no room for more.
fn in_one_line(e: &Error) -> String {
    let text = format!("{e:#}");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ")
}
