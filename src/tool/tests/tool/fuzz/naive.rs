// SPDX-License-Identifier: GPL-2.0

//! A second implementation of reports and differences, as simple as can be: it knows nothing
//! of the tool's own, and sorts and searches lists.

use super::profiles::{Owner, Profile, REASONS, VCPUS, log2};

/// What a report selects.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Indices of the reasons.
    pub reasons: Vec<usize>,
    /// Of VMs, `412-11` or the like.
    pub vms: Vec<&'static str>,
    pub vcpu: Option<u32>,
    /// `reason`, `vm`, `vcpu`, `vm,reason` or `vcpu,reason`.
    pub by: &'static str,
    pub net: bool,
}

/// The sum of counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sum {
    pub exits: u128,
    pub cycles: u128,
    pub timed: u128,
    /// Whether the profile tells of untimed exits.
    pub tells: bool,
}

/// A row of a report: what it is of, the sum, and the cycles of exits in its histogram.
#[derive(Clone, Debug)]
pub struct Row {
    pub owner: String,
    pub name: String,
    pub sum: Sum,
    pub spread: Vec<u64>,
}

/// A counter after all rows of an owner and reason are added up.
#[derive(Clone, Debug)]
pub struct Counter {
    owner: Owner,
    reason: usize,
    exits: u128,
    cycles: u128,
    untimed: u128,
    spread: Vec<u64>,
}

/// The counters; none if a sum is too large.
pub fn counters(profile: &Profile) -> Option<Vec<Counter>> {
    let mut counters: Vec<Counter> = Vec::new();
    for row in &profile.rows {
        let is_old = profile.version == 1;
        let counter = Counter {
            owner: row.owner,
            reason: row.reason,
            exits: row.exits.into(),
            cycles: row.cycles.into(),
            untimed: if is_old {
                0
            } else {
                row.untimed.min(row.exits).into()
            },
            spread: row.spread.clone(),
        };
        let same = |other: &&mut Counter| {
            let names = |owner| match owner {
                // In version 1, only names tell vCPUs apart.
                Owner::Vcpu(index) => (true, index),
                _ => (false, 0),
            };
            other.reason == counter.reason
                && (other.owner == counter.owner
                    || (names(other.owner).0
                        && names(counter.owner).0
                        && VCPUS[names(other.owner).1] == VCPUS[names(counter.owner).1]))
        };
        match counters.iter_mut().find(same) {
            None => counters.push(counter),
            Some(sum) => {
                sum.exits += counter.exits;
                sum.cycles += counter.cycles;
                sum.untimed += counter.untimed;
                sum.spread.clear();
                if sum.exits.max(sum.cycles).max(sum.untimed) > u64::MAX.into() {
                    return None;
                }
            }
        }
    }
    Some(counters)
}

/// All rows of a report, and the sum that percentages refer to. None if it must fail.
pub fn report(profile: &Profile, selection: &Selection) -> Option<(Vec<Row>, Sum)> {
    report_of(&counters(profile)?, profile, selection)
}

/// The same of counters that are not, or not all, in the profile.
fn report_of(
    counters: &[Counter],
    profile: &Profile,
    selection: &Selection,
) -> Option<(Vec<Row>, Sum)> {
    let is_vm = |index: usize, name: &str| VCPUS[index].0 == name;
    let restricted = !selection.vms.is_empty() || selection.vcpu.is_some();
    let by_reason = selection.by == "reason";
    let mut known: Vec<usize> = profile.attached.clone();
    known.extend(counters.iter().filter_map(|counter| match counter.owner {
        Owner::Vcpu(index) => Some(index),
        _ => None,
    }));
    for vm in &selection.vms {
        known.iter().find(|&&index| is_vm(index, vm))?;
    }
    let of_vms =
        |index: usize| selection.vms.is_empty() || selection.vms.iter().any(|vm| is_vm(index, vm));
    if let Some(vcpu) = selection.vcpu {
        known
            .iter()
            .find(|&&index| of_vms(index) && VCPUS[index].1 == vcpu)?;
    }
    let is_selected = |owner: Owner| match owner {
        Owner::Host => by_reason && !restricted,
        Owner::Ended | Owner::Unattributed => !by_reason && !restricted,
        Owner::Vcpu(index) => {
            let is_vcpu = selection.vcpu.is_none_or(|vcpu| VCPUS[index].1 == vcpu);
            (!by_reason || restricted) && of_vms(index) && is_vcpu
        }
    };
    let mut all = Sum {
        tells: profile.version > 1,
        ..Sum::default()
    };
    let mut rows: Vec<Row> = Vec::new();
    let shows_empty = by_reason && !selection.reasons.is_empty();
    for &reason in selection.reasons.iter().filter(|_| shows_empty) {
        if !rows.iter().any(|row| row.name == REASONS[reason].1) {
            rows.push(Row {
                owner: String::new(),
                name: REASONS[reason].1.into(),
                sum: Sum {
                    tells: true,
                    ..Sum::default()
                },
                spread: Vec::new(),
            });
        }
    }
    for counter in counters.iter().filter(|counter| is_selected(counter.owner)) {
        let timed = counter.exits - counter.untimed;
        let overhead = if selection.net {
            u128::from(profile.overhead)
        } else {
            0
        };
        let cycles = counter.cycles.saturating_sub(timed * overhead);
        let add = |sum: &mut Sum| {
            sum.exits += counter.exits;
            sum.cycles += cycles;
            sum.timed += timed;
            sum.tells = profile.version > 1;
        };
        add(&mut all);
        if !selection.reasons.is_empty() && !selection.reasons.contains(&counter.reason) {
            continue;
        }
        let whose = match counter.owner {
            Owner::Vcpu(index) if selection.by.starts_with("vm") => VCPUS[index].0.into(),
            Owner::Vcpu(index) => format!("{} vCPU {}", VCPUS[index].0, VCPUS[index].1),
            Owner::Ended => "ended".into(),
            Owner::Unattributed => "unattributed".into(),
            Owner::Host => String::new(),
        };
        let reason = REASONS[counter.reason].1.to_owned();
        let (owner, name) = match selection.by {
            "reason" => (String::new(), reason),
            "vm" | "vcpu" => (String::new(), whose),
            _ => (whose, reason),
        };
        let same = |row: &&mut Row| row.owner == owner && row.name == name;
        match rows.iter_mut().find(same) {
            Some(row) => {
                if row.sum.exits == 0 {
                    row.spread.clone_from(&counter.spread);
                } else {
                    row.spread.clear();
                }
                add(&mut row.sum);
            }
            None => {
                let mut sum = Sum::default();
                add(&mut sum);
                let spread = counter.spread.clone();
                rows.push(Row {
                    owner,
                    name,
                    sum,
                    spread,
                });
            }
        }
    }
    Some((rows, all))
}

/// The bounds of a percentile: those of the bucket of the exit with that rank.
pub fn percentile(spread: &[u64], percent: u32) -> Option<(u64, u64)> {
    let mut sorted = spread.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
    let exact = *sorted.get(rank - 1)?;
    let same = sorted.iter().filter(|&&other| log2(other) == log2(exact));
    let low = if log2(exact) == 0 {
        0
    } else {
        1 << log2(exact)
    };
    let high = if log2(exact) == 29 {
        u64::MAX
    } else {
        (2 << log2(exact)) - 1
    };
    same.clone().min()?;
    Some((low.max(sorted[0]), high.min(sorted[sorted.len() - 1])))
}

/// The owner and name of a row, and the exits and cycles of both profiles.
pub type Pair = (String, String, [(u128, u128); 2]);

/// What a comparison of two profiles of one host says.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// It fails: the profiles are in the wrong order, or a sum is too large.
    Fails,
    /// The rows.
    Of(Vec<Pair>),
}

/// How often each bucket occurs.
fn buckets(spread: &[u64]) -> Vec<usize> {
    let of = |bucket| {
        spread
            .iter()
            .filter(|&&cycles| log2(cycles) == bucket)
            .count()
    };
    (0..30).map(of).collect()
}

/// Whether a counter has fallen. Untimed exits are compared only if both profiles tell.
fn fell(now: &Counter, before: &Counter, tell: bool) -> bool {
    let [now_buckets, old_buckets] = [now, before].map(|counter| buckets(&counter.spread));
    now.exits < before.exits
        || now.cycles < before.cycles
        || (tell && now.untimed < before.untimed)
        || (!now.spread.is_empty()
            && now_buckets
                .iter()
                .zip(old_buckets)
                .any(|(now, before)| *now < before))
}

/// What was added, or none if a counter of no vCPU has fallen. Such vCPUs have ended, and those
/// of their names are others.
fn added(now: &[Counter], before: &[Counter], tell: bool, same_ids: bool) -> Option<Vec<Counter>> {
    let is_vcpu = |owner| matches!(owner, Owner::Vcpu(_));
    let is_same = |a: &Counter, b: &Counter| {
        let known = same_ids || !is_vcpu(a.owner);
        known && a.owner == b.owner && a.reason == b.reason
    };
    let mut gone: Vec<Owner> = Vec::new();
    for old in before {
        let now = now.iter().find(|now| is_same(now, old));
        let is_gone = match now {
            None => old.exits > 0,
            Some(now) => fell(now, old, tell),
        };
        if is_gone && !is_vcpu(old.owner) {
            return None;
        }
        gone.extend(is_gone.then_some(old.owner));
    }
    let mut all = Vec::new();
    for now in now {
        let mut counter = now.clone();
        let old = before.iter().find(|old| is_same(now, old));
        if let Some(old) = old.filter(|_| !gone.contains(&now.owner)) {
            counter.exits -= old.exits;
            counter.cycles -= old.cycles;
            counter.untimed = if tell {
                counter.untimed - old.untimed
            } else {
                0
            };
        }
        if counter.exits == 0 {
            continue;
        }
        for old in before.iter().filter(|old| gone.contains(&old.owner)) {
            if counter.owner == Owner::Ended && counter.reason == old.reason {
                counter.exits = counter.exits.saturating_sub(old.exits);
                counter.cycles = counter.cycles.saturating_sub(old.cycles);
                counter.untimed = counter.untimed.saturating_sub(old.untimed);
            }
        }
        counter.untimed = counter.untimed.min(counter.exits);
        all.push(counter);
    }
    all.retain(|counter| counter.exits > 0);
    Some(all)
}

/// Compares two profiles.
pub fn diff(a: &Profile, b: &Profile, by: &'static str) -> Difference {
    let (Some(before), Some(now)) = (counters(a), counters(b)) else {
        return Difference::Fails;
    };
    let tell = a.version > 1 && b.version > 1;
    let same_ids = a.version == b.version;
    let is_same_count = a.epoch == b.epoch && (!tell || a.id == b.id);
    let is_equal = a.text() == b.text();
    let since = added(&now, &before, tell, same_ids).filter(|_| is_same_count && !is_equal);
    let later = tell || a.seconds > b.seconds;
    let swapped = || added(&before, &now, tell, same_ids).is_some();
    if since.is_none() && !is_equal && is_same_count && later && swapped() {
        return Difference::Fails;
    }
    let selection = Selection {
        by,
        ..Selection::default()
    };
    let report = |counters: &[Counter], profile| report_of(counters, profile, &selection);
    let first = report(&before, a).unwrap_or_default().0;
    let second = report(&since.unwrap_or(now), b).unwrap_or_default().0;
    let figures = |rows: &[Row], like: &Row| {
        let row = rows
            .iter()
            .find(|row| row.owner == like.owner && row.name == like.name);
        row.map_or((0, 0), |row| (row.sum.exits, row.sum.cycles))
    };
    let mut rows = Vec::new();
    for row in first.iter().chain(&second) {
        let both = [figures(&first, row), figures(&second, row)];
        let row = (row.owner.clone(), row.name.clone(), both);
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    Difference::Of(rows)
}
