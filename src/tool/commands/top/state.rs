// SPDX-License-Identifier: GPL-2.0

//! The state of the screen, which keys and readings change.

use super::bars::{Bar, PartOrder, bars};
use crate::{
    columns,
    continuity::Break,
    names::Names,
    select::{By, Key, Level, Selection, Sort, What},
    snapshot::{Counter, Owner, Snapshot},
    view::{Row, Sum, View, percent},
};
use anyhow::{Error, Result};
use clap::{ValueEnum, builder::PossibleValue};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// What rows are sorted by, in descending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Exits per second in the last interval.
    #[default]
    Rate,
    /// What reports are sorted by, too.
    By(Sort),
}

/// From left to right.
const ORDERS: [Order; 9] = [
    Order::Rate,
    Order::By(Sort::Exits),
    Order::By(Sort::Time),
    Order::By(Sort::Avg),
    Order::By(Sort::P90),
    Order::By(Sort::P99),
    Order::By(Sort::Max),
    Order::By(Sort::Min),
    Order::By(Sort::Reason),
];

impl ValueEnum for Order {
    fn value_variants<'a>() -> &'a [Order] {
        &ORDERS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Order::Rate => Some(PossibleValue::new("rate").help(columns::RATE.help)),
            Order::By(sort) => sort.to_possible_value(),
        }
    }
}

impl Order {
    /// The order of rows before they have rates.
    fn sort(self) -> Sort {
        match self {
            Order::Rate => Sort::Exits,
            Order::By(sort) => sort,
        }
    }

    /// The order `steps` columns to the right.
    pub(super) fn next(self, steps: usize) -> Order {
        let all = ORDERS;
        let here = all.iter().position(|&order| order == self).unwrap_or(0);
        all[(here + steps) % all.len()]
    }

    /// The order one column to the left.
    pub(super) fn previous(self) -> Order {
        self.next(ORDERS.len() - 1)
    }
}

/// A row of the list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveRow {
    /// What was counted since the baseline.
    pub since: Row,
    /// Exits per second in the last interval, if there was one.
    pub rate: Option<f64>,
}

/// A list on the way from all exits to the current list.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) selection: Selection,
    /// The row that keys act on; the first if there is no such row.
    pub(super) cursor: Option<Key>,
    /// Whether it shows where time went, and not exits.
    pub(super) phases: bool,
}

impl Place {
    pub(super) fn new(selection: Selection) -> Place {
        Place {
            selection,
            cursor: None,
            phases: false,
        }
    }
}

/// What hides the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Overlay {
    /// The keys.
    Help,
    /// The histogram of a reason.
    Histogram(Key),
}

/// Everything that the screen shows.
#[derive(Debug)]
pub struct State {
    baseline: Snapshot,
    now: Snapshot,
    /// What was counted between the last two readings, if they can be compared.
    interval: Option<Snapshot>,
    /// What was counted since the baseline.
    since: Snapshot,
    /// All exits that lists show: of a level, if one was chosen, by these names.
    pub(super) everything: Selection,
    /// The way to the current list, which is the last; never empty.
    pub(super) places: Vec<Place>,
    /// What rows are sorted by.
    pub order: Order,
    /// What bars are sorted by.
    pub part: PartOrder,
    /// Whether the order is reversed.
    pub reversed: bool,
    /// The time between two readings.
    pub delay: Duration,
    /// Whether the readings are those of a series.
    pub replays: bool,
    /// What the names of rows must contain, in any case.
    pub filter: String,
    /// Whether keys change the filter.
    pub typing: bool,
    /// Whether reading is paused.
    pub paused: bool,
    /// What hides the list.
    pub overlay: Option<Overlay>,
    /// How many lines the overlay is scrolled by, if it does not fit.
    pub scroll: usize,
    /// Why the last reading failed.
    pub error: Option<String>,
    /// What happened since the last key.
    pub notice: Option<String>,
    /// The rows of the list.
    pub rows: Vec<LiveRow>,
    /// The sum of the rows.
    pub sum: LiveRow,
    /// The rows if phases are shown: where the time of the last interval went.
    pub bars: Vec<Bar>,
    /// All exits per second in the last interval, and their cycles.
    pub total: Option<(f64, u128)>,
}

impl State {
    /// Starts with a reading as the baseline, and perhaps with a VM.
    ///
    /// # Errors
    ///
    /// If there is no such VM.
    pub fn new(first: Snapshot, order: Order, vms: &[String]) -> Result<State> {
        let mut places = vec![Place::new(Selection::everything())];
        if !vms.is_empty() {
            let selection = Selection {
                vms: vms.to_vec(),
                ..Selection::everything()
            };
            selection.check_owners(&[&first])?;
            places[0].selection.by = By::Vm;
            places.push(Place::new(selection));
        }
        let mut state = State {
            since: first.since(&first)?,
            baseline: first.clone(),
            now: first,
            interval: None,
            everything: Selection::everything(),
            places,
            order,
            part: PartOrder::default(),
            reversed: false,
            delay: Duration::from_secs(1),
            replays: false,
            filter: String::new(),
            typing: false,
            paused: false,
            overlay: None,
            scroll: 0,
            error: None,
            notice: None,
            rows: Vec::new(),
            sum: LiveRow::default(),
            bars: Vec::new(),
            total: None,
        };
        state.refresh();
        Ok(state)
    }

    /// Takes names of what is behind exits.
    pub fn name(&mut self, names: &Arc<Names>) {
        self.change(|selection| selection.names = Arc::clone(names));
    }

    /// Shows only exits of this level of nested guests, or all.
    ///
    /// # Errors
    ///
    /// If the source does not tell levels apart.
    pub fn choose_level(&mut self, level: Option<Level>) -> Result<()> {
        if let Some(level) = level {
            self.now.at_level(level)?;
        }
        self.change(|selection| selection.level = level);
        Ok(())
    }

    /// Changes what all lists select.
    fn change(&mut self, change: impl Fn(&mut Selection)) {
        change(&mut self.everything);
        for place in &mut self.places {
            change(&mut place.selection);
        }
        self.refresh();
    }

    /// Shows a list of VMs, or the like.
    ///
    /// # Errors
    ///
    /// If the source has none.
    pub fn group(&mut self, by: By) -> Result<()> {
        let selection = Selection {
            by,
            ..self.selection().clone()
        };
        selection.check_owners(&[&self.now])?;
        if by.is_of_keys() {
            View::new(&self.now, &selection)?;
        }
        if by != By::Reason {
            self.place_mut().selection = selection;
        }
        self.refresh();
        Ok(())
    }

    /// Takes a reading, or the error of one.
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

    /// What the list shows.
    pub fn selection(&self) -> &Selection {
        &self.place().selection
    }

    /// The last reading.
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

    /// What identifies the rows of the list.
    pub(super) fn keys(&self) -> Vec<Key> {
        match self.has_phases() {
            true => self.bars.iter().map(|bar| bar.key.clone()).collect(),
            false => self.rows.iter().map(|row| row.since.key()).collect(),
        }
    }

    /// The index of the row that keys act on.
    pub fn cursor(&self) -> usize {
        let cursor = self.place().cursor.as_ref();
        let at = |key: &Key| self.keys().iter().position(|other| other == key);
        cursor.and_then(at).unwrap_or(0)
    }

    /// Whether the list shows where time went.
    pub fn has_phases(&self) -> bool {
        self.place().phases
    }

    /// Shows where time went.
    pub fn show_phases(&mut self) {
        self.place_mut().phases = true;
        self.refresh();
    }

    /// Shows where time went, or exits again.
    pub(super) fn switch_phases(&mut self) {
        let place = self.place_mut();
        place.phases = !place.phases;
        place.cursor = None;
    }

    /// Sorts by the next column.
    pub(super) fn sort_by_next(&mut self) {
        match self.has_phases() {
            true => self.part = self.part.next(),
            false => self.order = self.order.next(1),
        }
    }

    /// Sorts by the previous column.
    pub(super) fn sort_by_previous(&mut self) {
        match self.has_phases() {
            true => self.part = self.part.previous(),
            false => self.order = self.order.previous(),
        }
    }

    /// The row of a reason that has a histogram, since the baseline; or why there is none.
    pub fn histogram(&self, key: &Key) -> Result<&Row, &'static str> {
        if !self.now.origin.is_host() {
            return Err("A guest cannot see histograms.");
        }
        if self.selection().is_restricted() {
            return Err("Only all guests together have histograms, not a single VM.");
        }
        if self.selection().level.is_some() {
            return Err("Only all levels together have histograms.");
        }
        let is_it = |counter: &&Counter| counter.reason == key.reason && *counter.name == *key.name;
        let counter = self.since.of(&Owner::All).find(is_it);
        let counter = counter.ok_or("No exits since the baseline.")?;
        let row = self
            .rows
            .iter()
            .map(|row| &row.since)
            .find(|row| row.key() == *key);
        match &counter.histogram {
            Some(_) => row.ok_or("No exits since the baseline."),
            None if counter.timed() == 0 => Err("None of its exits was timed."),
            None => Err("The module keeps no histograms (module parameter histograms)."),
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
        self.since.details.clear();
        self.since.places.clear();
        self.since.since_ns = Some(self.now.time_ns);
        self.since.time_ns = self.now.time_ns;
    }

    /// Recomputes the rows. Goes back if the VM or vCPU of the current list has ended.
    pub(super) fn refresh(&mut self) {
        while let Err(e) = self.compute() {
            if self.leave_ended() || self.leave_level() {
                continue;
            }
            let Selection { vms, vcpu, .. } = self.selection();
            self.notice = Some(match (vms.as_slice(), vcpu) {
                ([vm], Some(vcpu)) => format!("vCPU {vcpu} of VM {vm} has ended."),
                ([vm], None) => format!("VM {vm} has ended."),
                _ => in_one_line(&e),
            });
            self.overlay = None;
            self.places.pop();
            if self.places.is_empty() {
                self.places.push(Place::new(self.everything.clone()));
            }
        }
    }

    /// Shows all levels, if the counters are other ones now that do not tell them apart.
    fn leave_level(&mut self) -> bool {
        let Some(level) = self.everything.level else {
            return false;
        };
        let counted = self.interval.iter().chain([&self.since]);
        let Some(Err(e)) = counted.map(|s| s.at_level(level)).find(Result::is_err) else {
            return false;
        };
        self.notice = Some(in_one_line(&e));
        self.change(|selection| selection.level = None);
        true
    }

    /// Leaves those of several VMs that have ended, but not all. Says whether there were any.
    fn leave_ended(&mut self) -> bool {
        let is_there = |vm: &String| {
            let vms = vec![vm.clone()];
            let selection = Selection {
                vms,
                ..Selection::everything()
            };
            selection.check_owners(&[&self.since]).is_ok()
        };
        let vms = self.selection().vms.clone();
        let (there, ended): (Vec<_>, Vec<_>) = vms.into_iter().partition(is_there);
        if there.is_empty() || ended.is_empty() {
            return false;
        }
        self.notice = Some(format!("VM {} has ended.", ended.join(", ")));
        self.place_mut().selection.vms = there;
        true
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
            rates.extend(view.rows.iter().map(|row| (row.key(), row.exits)));
        }
        let live = |row: Row| {
            let exits = rates.get(&row.key()).copied().unwrap_or(0);
            LiveRow {
                rate: seconds.map(|seconds| exits as f64 / seconds),
                since: row,
            }
        };
        let filter = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&filter);
        let is_wanted = |name: &str, vm_name: &Option<String>| {
            filter.is_empty() || has(name) || vm_name.as_deref().is_some_and(has)
        };
        let rows = since.rows.into_iter();
        let rows = rows.filter(|row| is_wanted(&row.name, &row.vm_name));
        self.rows = rows.map(live).collect();
        let bars = match &self.interval {
            Some(interval) if self.has_phases() => bars(interval, &selection, self.part),
            _ => Vec::new(),
        };
        self.bars = (bars.into_iter())
            .filter(|bar| is_wanted(&bar.key.name, &bar.vm_name))
            .collect();
        self.sum = sum(&self.rows, &since.total, seconds.is_some());
        if self.order == Order::Rate {
            let rate = |row: &LiveRow| row.rate.unwrap_or(0.0);
            let is_others = |row: &LiveRow| row.since.what == Some(What::Others);
            self.rows.sort_by(|a, b| {
                let others = is_others(a).cmp(&is_others(b));
                others.then_with(|| rate(b).total_cmp(&rate(a)))
            });
        }
        if self.reversed {
            self.rows.reverse();
            self.bars.reverse();
        }
        Ok(())
    }
}

/// The sum of rows. Shares refer to `all`.
fn sum(rows: &[LiveRow], all: &Sum, has_rate: bool) -> LiveRow {
    let each = || rows.iter().map(|row| &row.since);
    let exits: u128 = each().map(|row| row.exits).sum();
    let cycles: u128 = each().map(|row| row.cycles).sum();
    let untimed: u128 = each().filter_map(|row| row.untimed).sum();
    let timed = each().any(|row| row.avg.is_some());
    let avg = cycles as f64 / exits.saturating_sub(untimed) as f64;
    let rate = rows.iter().filter_map(|row| row.rate).sum();
    LiveRow {
        since: Row {
            name: "total".into(),
            exits,
            cycles,
            exits_percent: percent(exits, all.exits),
            time_percent: percent(cycles, all.cycles),
            avg: Some(avg).filter(|avg| timed && avg.is_finite()),
            untimed: Some(untimed),
            ..Row::default()
        },
        rate: has_rate.then_some(rate),
    }
}

/// Joins the lines of an error.
fn in_one_line(e: &Error) -> String {
    let text = format!("{e:#}");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ")
}
