// SPDX-License-Identifier: GPL-2.0

//! Where the time of vCPUs went: bars of the guest and the phases.

use super::{
    Picture,
    axis::Quantity,
    chart::{
        Chart,
        stacks::{Bars, Row, Stacks},
        timed,
    },
    names,
    style::{BEFORE, BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, YELLOW},
};
use crate::{
    budget::{Breakdown, GUEST, Time},
    comparison::letter,
    render::{
        budget::said,
        units::{self, Unit},
    },
    select::Key,
    snapshot::Snapshot,
    view::percent,
};
use plotters::style::RGBColor;
use profile::phases::{PHASES, Phase};
use std::collections::BTreeMap;

/// How many reasons there are, unless people ask for another number.
const FEW: usize = 12;

/// The title.
const TITLE: &str = "Where the time of vCPUs goes";

/// The shares of the guest and of the phases.
type Shares = [f64; 1 + PHASES];

/// The colour of the guest, and those of the phases.
const COLOURS: [RGBColor; 1 + PHASES] = [
    BEFORE, SKY, VERMILION, ORANGE, BLUE, YELLOW, GREEN, PURPLE, INK,
];

/// All vCPUs, and below what exits of each reason led to.
pub fn of_breakdown(breakdown: &Breakdown, top: usize, unit: Unit) -> Picture {
    let elapsed = breakdown.time.elapsed;
    let all = named("all vCPUs", shares(&breakdown.time), elapsed, unit, elapsed);
    let rows = breakdown.rows.iter().take(few(top)).map(|row| {
        named(
            &row.name,
            spent(row.spent, elapsed),
            row.cycles,
            unit,
            elapsed,
        )
    });
    picture(Bars::Named(vec![vec![all], rows.collect()]))
}

/// Each VM or vCPU.
pub fn of_owners(
    times: &BTreeMap<Key, Time>,
    snapshot: &Snapshot,
    top: usize,
    unit: Unit,
) -> Picture {
    let vm_name = |key: &Key| {
        snapshot
            .vm_names
            .get(key.vm.as_deref()?)
            .map(String::as_str)
    };
    let names = names::names(times.keys().map(|key| (key, vm_name(key))));
    let rows = names
        .iter()
        .zip(times.values())
        .take(top)
        .map(|(name, time)| Row {
            name: name.clone(),
            parts: shares(time).to_vec(),
            label: unit.show(time.elapsed as f64),
        });
    picture(Bars::Named(vec![rows.collect()]))
}

/// All vCPUs of both snapshots, and what exits of each reason led to.
pub fn of_both(breakdowns: [&Breakdown; 2], top: usize, units: [Unit; 2]) -> Picture {
    let sides = || breakdowns.into_iter().zip(units).enumerate();
    let all = sides().map(|(side, (breakdown, unit))| {
        let elapsed = breakdown.time.elapsed;
        let name = format!("all vCPUs {}", letter(side));
        named(&name, shares(&breakdown.time), elapsed, unit, elapsed)
    });
    // Reasons with the most time in either.
    let mut most: BTreeMap<&str, f64> = BTreeMap::new();
    for row in breakdowns.iter().flat_map(|breakdown| &breakdown.rows) {
        let share = most.entry(&row.name).or_default();
        *share = share.max(row.percent.unwrap_or(0.0));
    }
    let mut reasons: Vec<(&str, f64)> = most.into_iter().collect();
    reasons.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let rows = reasons.iter().take(few(top)).flat_map(|(reason, _)| {
        sides().map(move |(side, (breakdown, unit))| {
            let elapsed = breakdown.time.elapsed;
            let row = breakdown.rows.iter().find(|row| &*row.name == *reason);
            let cycles = row.map_or(0, |row| row.cycles);
            let parts = row.map_or([0.0; 1 + PHASES], |row| spent(row.spent, elapsed));
            named(
                &format!("{reason} {}", letter(side)),
                parts,
                cycles,
                unit,
                elapsed,
            )
        })
    });
    picture(Bars::Named(vec![all.collect(), rows.collect()]))
}

/// All vCPUs in each interval.
pub fn over_time(time: timed::Time, budgets: &[Time]) -> Picture {
    let parts = budgets.iter().map(|budget| match budget.elapsed {
        0 => Vec::new(),
        _ => shares(budget).to_vec(),
    });
    picture(Bars::Timed(time, parts.collect()))
}

fn few(top: usize) -> usize {
    if top == usize::MAX { FEW } else { top }
}

fn named(name: &str, parts: Shares, cycles: u128, unit: Unit, elapsed: u128) -> Row {
    let share = units::percent(percent(cycles, elapsed).unwrap_or(0.0) / 100.0);
    Row {
        name: name.into(),
        parts: parts.to_vec(),
        label: format!("{} ({share})", unit.show(cycles as f64)),
    }
}

/// The shares of the time.
fn shares(time: &Time) -> Shares {
    let mut parts = time.parts();
    std::array::from_fn(|_| parts.next().and_then(|part| part.percent).unwrap_or(0.0))
}

/// The shares of the phases that exits of a reason led to.
fn spent(cycles: [u128; PHASES], elapsed: u128) -> Shares {
    std::array::from_fn(|part| match part {
        0 => 0.0,
        phase => percent(cycles[phase - 1], elapsed).unwrap_or(0.0),
    })
}

/// A picture of the parts that occur.
fn picture(mut bars: Bars) -> Picture {
    let all: Vec<&mut Vec<f64>> = match &mut bars {
        Bars::Named(groups) => {
            let rows = groups.iter_mut().flatten();
            rows.map(|row| &mut row.parts).collect()
        }
        Bars::Timed(_, parts) => parts.iter_mut().collect(),
    };
    let occurs = |part: usize| {
        all.iter()
            .any(|parts| parts.get(part).is_some_and(|&n| n > 0.0))
    };
    let kept: Vec<usize> = (0..=PHASES).filter(|&part| occurs(part)).collect();
    for parts in all {
        *parts = kept
            .iter()
            .filter_map(|&part| parts.get(part).copied())
            .collect();
    }
    let names = [GUEST].into_iter().chain(Phase::ALL.map(Phase::key));
    let named: Vec<(String, RGBColor)> = names
        .map(|name| said(name).to_owned())
        .zip(COLOURS)
        .collect();
    let chart = Stacks {
        parts: kept.iter().map(|&part| named[part].clone()).collect(),
        quantity: Quantity::Percent,
        bars,
    };
    let mut picture = Picture::new(TITLE, Chart::Stacks(chart));
    picture.notes.push("Shares of the time of all vCPUs".into());
    picture
}
