// SPDX-License-Identifier: GPL-2.0

//! A comparison in words.

use super::{
    budget::said,
    cells::shown_as,
    changes::times,
    grid::Value,
    units::{change, duration, percent, when},
    words,
};
use crate::{
    columns::Kind,
    comparison::{Comparison, Pair, Part, Side, Times, letter},
    continuity::Break,
    select::Key,
    view,
};

/// The longest line.
const WIDTH: usize = 80;

/// Says what is compared: files, machines, dates and durations.
pub fn title(comparison: &Comparison) -> Vec<String> {
    let parts = comparison.parts.iter().enumerate();
    // Periods never continue each other, so that is nothing to tell.
    let is_period = |part: &Part| part.snapshot.period.is_some();
    let are_periods = comparison.parts.iter().all(is_period);
    let about = |(index, part)| about(index, part, are_periods);
    let mut lines: Vec<String> = parts.flat_map(about).collect();
    if comparison.times == Times::Cycles {
        lines.push("Times are in TSC cycles".into());
    }
    lines
}

fn about(index: usize, part: &Part, are_periods: bool) -> Vec<String> {
    let Part { snapshot, .. } = part;
    let mut facts = Vec::new();
    facts.extend(snapshot.machine.clone());
    facts.extend(snapshot.clock.map(when));
    let command = snapshot.period.as_ref().and_then(|p| p.command.as_ref());
    let seconds = snapshot.seconds();
    let lasted = seconds.map_or("an unknown time".into(), duration);
    facts.push(match (part.continued, command) {
        (true, _) => {
            format!("what was added since {}, in {lasted}", letter(index - 1))
        }
        (false, Some(command)) => format!("{lasted} of {}", beginning(command, 40)),
        (false, None) => lasted,
    });
    let mut lines = vec![format!("{}: {}", letter(index), shortened(&part.file, 60))];
    for fact in facts {
        let last = lines.len() - 1;
        match lines[last].chars().count() + 2 + fact.chars().count() > WIDTH {
            true => {
                lines[last].push(',');
                lines.push(format!("   {fact}"));
            }
            false => lines[last] += &format!(", {fact}"),
        }
    }
    let is_told = |why: &Break| *why != Break::Period || !are_periods;
    if let Some(why) = part.separate.filter(is_told) {
        let [this, before] = [index, index - 1].map(letter);
        lines.push(format!("{this} does not continue {before}: {why}"));
    }
    if words::is_off(snapshot) {
        lines.push(format!(
            "{}: recording was off, so exits are missing",
            letter(index)
        ));
    }
    if part.presumed {
        let why = "Presumed, because no counter is lower: a recording does not say what it counts";
        lines.push(why.into());
    }
    lines
}

/// A text, of which only the end is shown if it is too long.
fn shortened(text: &str, most: usize) -> String {
    let plain: Vec<char> = text.chars().map(printable).collect();
    match plain.len().checked_sub(most) {
        Some(more @ 1..) => format!("..{}", plain[more + 2..].iter().collect::<String>()),
        _ => plain.iter().collect(),
    }
}

/// A text, of which only the beginning is shown if it is too long.
fn beginning(text: &str, most: usize) -> String {
    let plain: Vec<char> = text.chars().map(printable).collect();
    match plain.len() > most {
        true => format!("{}..", plain[..most - 2].iter().collect::<String>()),
        false => plain.iter().collect(),
    }
}

fn printable(c: char) -> char {
    if c.is_control() { '?' } else { c }
}

/// Sums of all rows, which exits of the first `top` were not timed, and what changed most.
pub fn notes(comparison: &Comparison, top: usize) -> Vec<String> {
    if comparison.budget.is_some() {
        return phase_notes(comparison);
    }
    let per = if comparison.per_second { "/s" } else { "" };
    let sum = comparison.sum();
    let show = |time: f64| shown_as(&Value::Real(time), Kind::Time, times(comparison));
    let told = |values: Vec<f64>, show: &dyn Fn(f64) -> String| {
        let ends = (values[0], values[values.len() - 1]);
        let change = change(view::change(ends.0, ends.1));
        let values: Vec<String> = values.into_iter().map(show).collect();
        format!("{} ({change})", values.join(", then "))
    };
    let digits = if comparison.per_second { 1 } else { 0 };
    let exits = sum.sides.iter().map(Side::rate).collect();
    let all = told(exits, &|n| format!("{n:.digits$}"));
    let mut lines = vec![words::label(&format!("Exits{per}"), all)];

    let time: Option<Vec<f64>> = sum.sides.iter().map(|side| side.time).collect();
    // Exits whose times are all 0 come from a source without times.
    let is_known = |side: &Side| side.exits == 0 || side.cycles > 0;
    let all = match time.filter(|_| sum.sides.iter().all(is_known)) {
        None => "unknown, because a recording has no times".into(),
        Some(time) => told(time, &show),
    };
    lines.push(words::label(&format!("Time{per}"), all));
    lines.extend(changed_most(comparison, per));

    let rows = comparison.rows.iter().take(top);
    let untimed: Vec<String> = rows.filter_map(untimed).collect();
    lines.extend(words::listing("Not timed", &untimed));
    lines
}

/// The reason, or reason and phase, whose time changed most.
fn changed_most(comparison: &Comparison, per: &str) -> Option<String> {
    let changed = comparison.reasons().iter();
    let changed = changed.filter_map(|pair| Some((pair.time_change()?, pair)));
    let most = changed.max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs()));
    let (change, pair) = most.filter(|(change, _)| *change != 0.0)?;
    let change = shown_as(&Value::Real(change), Kind::TimeChange, times(comparison));
    let name = name(&pair.key);
    let name = match pair.phase {
        Some(phase) => format!("{name}, {}", said(phase)),
        None => name,
    };
    Some(words::label(
        "Changed most",
        format!("{name}: {change}{per}"),
    ))
}

/// The time of all vCPUs, and what changed most.
fn phase_notes(comparison: &Comparison) -> Vec<String> {
    let all = |(index, part): (usize, &Part)| {
        let budget = comparison.budget.iter().flatten();
        let cycles: u128 = budget.map(|pair| pair.side(index).cycles).sum();
        let time = cycles as f64 * comparison.times.scale(&part.snapshot);
        shown_as(&Value::Real(time), Kind::Time, times(comparison))
    };
    let all: Vec<String> = comparison.parts.iter().enumerate().map(all).collect();
    let per = match comparison.per_second {
        true => " of a vCPU's second",
        false => "",
    };
    let mut lines = vec![words::label(
        "In total",
        format!("{} of all vCPUs", all.join(", then ")),
    )];
    lines.extend(changed_most(comparison, per));
    if comparison
        .parts
        .iter()
        .any(|part| part.snapshot.period.is_none())
    {
        let why = "A recording is not of a period: there may have been exits before phases were \
                   recorded, so their averages are unknown (exitprof record --for 10 FILE)";
        lines.push(why.into());
    }
    lines
}

/// The share of a reason's exits that were not timed, if there are any.
fn untimed(pair: &Pair) -> Option<String> {
    let part = |side: &Side| {
        let part = side.untimed.and_then(|n| view::percent(n, side.exits));
        part.map_or("-".into(), |part| percent(part / 100.0))
    };
    let some = |side: &Side| side.untimed.is_some_and(|n| n > 0);
    let parts: Vec<String> = pair.sides.iter().map(part).collect();
    let name = name(&pair.key);
    (pair.sides.iter().any(some)).then(|| format!("{name} {}", parts.join(", then ")))
}

/// The name of a row, with its owner's if it has one.
fn name(key: &Key) -> String {
    let owner = key.owner.as_ref().map(|owner| format!("{owner} "));
    owner.unwrap_or_default() + &key.name
}

/// What grew by more than `limit` percent from the first snapshot to the last: exits and
/// time, or if these cannot be compared, the average. `None` if nothing can be compared.
pub fn exceeded(comparison: &Comparison, limit: f64) -> Option<Vec<String>> {
    let sum = comparison.sum();
    let per = if comparison.per_second { "/s" } else { "" };
    let is_comparable = comparison.per_second || comparison.is_same_work();
    let all = match is_comparable {
        true => vec![
            (format!("exits{per}"), sum.exits_change()),
            (format!("time{per}"), sum.time_change_percent()),
        ],
        false => vec![("average time".into(), sum.avg_change())],
    };
    let known: Vec<(String, f64)> = all
        .into_iter()
        .filter_map(|(what, change)| Some((what, change?)))
        .collect();
    if known.is_empty() {
        return None;
    }
    let above = known.into_iter().filter(|(_, change)| *change > limit);
    Some(
        above
            .map(|(what, percent)| format!("{what} {}", change(percent)))
            .collect(),
    )
}
