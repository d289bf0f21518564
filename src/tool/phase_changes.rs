// SPDX-License-Identifier: GPL-2.0

//! Where the time of snapshots went, side by side.

use crate::{
    budget::{Breakdown, GUEST, Row, switch_on},
    comparison::{Comparison, Order, Pair, Side, Times, letter},
    select::{Key, Selection},
    snapshot::Snapshot,
};
use anyhow::{Result, ensure};
use profile::phases::Phase;
use std::collections::BTreeSet;

/// Where the time of a snapshot went, and the units of its figures.
struct Scaled {
    breakdown: Breakdown,
    /// What makes a number of exits that of a vCPU's second.
    rate: Option<f64>,
    /// What makes cycles an average time.
    avg: f64,
    /// What makes cycles a time that can be compared.
    time: Option<f64>,
    /// Whether all exits were counted while phases were recorded.
    is_period: bool,
}

impl Comparison {
    /// The same comparison, of phases in place of exits. Times are those of a vCPU's second,
    /// unless each snapshot is of a command.
    ///
    /// # Errors
    ///
    /// If a snapshot has no phases.
    pub fn by_phase(mut self, selection: &Selection, order: Order) -> Result<Comparison> {
        self.per_second = !self.is_same_work();
        let mut all = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            ensure!(
                !part.snapshot.budgets.is_empty(),
                "{} has no phases: before recording, {}",
                letter(index),
                switch_on(&part.snapshot)
            );
            all.push(Scaled::new(&self, &part.snapshot, selection));
        }
        let pair = |key: &Key, phase, side: &dyn Fn(&Scaled) -> Side| Pair {
            key: key.clone(),
            vm_name: None,
            phase: Some(phase),
            sides: all.iter().map(side).collect(),
        };
        let has_time = |pair: &Pair| pair.sides.iter().any(|side| side.cycles > 0);
        let names = [GUEST].into_iter().chain(Phase::ALL.map(Phase::key));
        let part = |name| pair(&Key::named(name), name, &|scaled| scaled.part(name));
        let mut budget: Vec<Pair> = names.map(part).collect();
        let guest = budget[0].clone();
        budget.retain(has_time);
        let share = |pair: &Pair| {
            let shares = pair.sides.iter().filter_map(|side| side.time_percent);
            shares.fold(0.0, f64::max)
        };
        budget.sort_by(|a, b| share(b).total_cmp(&share(a)));

        let rows = all.iter().flat_map(|scaled| &scaled.breakdown.rows);
        let keys: BTreeSet<Key> = rows.map(key).collect();
        let of_reason = |reason: &Key| {
            let of = |phase: Phase| pair(reason, phase.key(), &|all| all.of(reason, phase));
            Phase::ALL.map(of)
        };
        let mut rows: Vec<Pair> = keys.iter().flat_map(of_reason).filter(has_time).collect();
        rows.sort_by(|x, y| order.of(x, y));
        rows.insert(0, guest);
        Ok(Comparison {
            budget: Some(budget),
            rows,
            ..self
        })
    }

    /// The rows of reasons, without the guest's.
    pub fn reasons(&self) -> &[Pair] {
        &self.rows[usize::from(self.budget.is_some())..]
    }
}

impl Scaled {
    fn new(comparison: &Comparison, snapshot: &Snapshot, selection: &Selection) -> Scaled {
        let breakdown = Breakdown::of_part(snapshot, selection);
        let elapsed = Some(breakdown.time.elapsed as f64).filter(|&elapsed| elapsed > 0.0);
        let khz = Some(f64::from(snapshot.tsc_khz)).filter(|&khz| khz > 0.0);
        // A vCPU's second, in cycles and in the unit of times.
        let second = khz.map(|khz| khz * 1e3);
        let shown = match comparison.times {
            Times::Ns => Some(1e9),
            Times::Cycles => second,
        };
        let seconds = elapsed
            .zip(second)
            .map(|(elapsed, second)| elapsed / second);
        let avg = comparison.times.scale(snapshot);
        Scaled {
            rate: seconds.map(|seconds| 1.0 / seconds),
            avg,
            time: match comparison.per_second {
                true => shown.zip(elapsed).map(|(second, elapsed)| second / elapsed),
                false => Some(avg),
            },
            is_period: snapshot.period.is_some(),
            breakdown,
        }
    }

    /// A part of the budget.
    fn part(&self, name: &str) -> Side {
        let mut parts = self.breakdown.parts.iter();
        let part = parts.find(|part| part.name == name);
        part.map_or(Side::default(), |part| self.side(part.cycles, None))
    }

    /// What a reason's exits led to.
    fn of(&self, reason: &Key, phase: Phase) -> Side {
        let mut rows = self.breakdown.rows.iter();
        match rows.find(|row| key(row) == *reason) {
            Some(row) => self.side(row.spent[phase as usize], Some(row)),
            None => Side {
                exits_per_second: self.rate.map(|_| 0.0),
                ..self.side(0, None)
            },
        }
    }

    fn side(&self, cycles: u128, row: Option<&Row>) -> Side {
        // Of others, there may have been exits before phases were recorded.
        let counted = row.filter(|_| self.is_period);
        let exits = row.map_or(0, |row| row.exits);
        let timed = counted.map_or(0, |row| row.timed);
        Side {
            exits,
            cycles,
            exits_per_second: counted.zip(self.rate).map(|(_, rate)| exits as f64 * rate),
            exits_percent: None,
            time_percent: crate::view::percent(cycles, self.breakdown.time.elapsed),
            avg: (timed > 0).then(|| cycles as f64 / timed as f64 * self.avg),
            time: self.time.map(|scale| cycles as f64 * scale),
            untimed: row.map(|row| row.exits.saturating_sub(row.timed)),
        }
    }
}

fn key(row: &Row) -> Key {
    Key {
        reason: row.reason,
        ..Key::named(row.name.clone())
    }
}
