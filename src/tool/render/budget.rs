// SPDX-License-Identifier: GPL-2.0

//! Shows where time went: a budget of the phases, then reasons by phases.

use super::{
    facts,
    grid::{Column, Rows},
    sheet::{Look, Sheet, Shown, Times},
    table::width,
    units::{self, Unit},
    words,
};
use crate::{
    budget::{Breakdown, GUEST, Row},
    columns::{self, Meta},
    select::Selection,
    snapshot::Snapshot,
    view::percent,
};
use profile::phases::Phase;

/// The columns of the phases for programs, the headings of their averages for people, and how
/// much each is needed: handlers and userspace most, and polling least.
const PHASES: [(&Meta, &str, u8); Phase::ALL.len()] = [
    (&columns::EXIT_PATH, "Path", 20),
    (&columns::HANDLER, "Handler", 32),
    (&columns::RUN_LOOP, "Loop", 21),
    (&columns::USERSPACE, "User", 31),
    (&columns::POLLING, "Poll", 10),
    (&columns::HALTED, "Halt", 30),
    (&columns::PREEMPTED, "Preempt", 22),
    (&columns::SLEEPING, "Sleep", 12),
];

/// The average of a phase, or its share, which only people see.
const AVERAGE: Meta = Meta {
    name: "",
    ..columns::AVG
};
const SHARE: Meta = Meta {
    name: "",
    ..columns::SPENT_PERCENT
};

/// The columns for programs.
pub fn columns<'a>() -> Vec<Column<'a, Row>> {
    let mut columns = vec![
        Column::new(&columns::REASON, |row: &Row| row.reason),
        Column::new(&columns::NAME, |row: &Row| row.name.clone()),
        Column::new(&columns::EXITS, |row: &Row| row.exits),
        Column::new(&columns::SPENT, |row: &Row| row.cycles),
        Column::new(&columns::SPENT_PERCENT, |row: &Row| row.percent),
    ];
    for (phase, (meta, ..)) in Phase::ALL.into_iter().zip(PHASES) {
        columns.push(Column::new(meta, move |row: &Row| {
            row.spent[phase as usize]
        }));
    }
    columns
}

/// The table: for people, the average of each phase after a timed exit, if the snapshot is of a
/// period. Otherwise, there may have been exits before phases were recorded, and people see the
/// share of each phase.
pub fn grid<'a>(snapshot: &Snapshot, breakdown: &'a Breakdown) -> Rows<'a, Row> {
    let mut columns = columns();
    for phase in Phase::ALL {
        let cycles = move |row: &Row| Some(row.spent[phase as usize]).filter(|&cycles| cycles > 0);
        let elapsed = breakdown.elapsed;
        columns.push(match snapshot.period {
            Some(_) => Column::new(&AVERAGE, move |row: &Row| {
                let timed = Some(row.timed).filter(|&timed| timed > 0)?;
                Some(cycles(row)? as f64 / timed as f64)
            }),
            None => Column::new(&SHARE, move |row: &Row| percent(cycles(row)?, elapsed)),
        });
    }
    Rows {
        columns,
        rows: &breakdown.rows,
    }
}

/// The sheet for people.
pub fn sheet<'a>(
    grid: &'a Rows<'a, Row>,
    facts: &'a facts::PhaseReport,
    snapshot: &Snapshot,
    selection: &Selection,
    breakdown: &Breakdown,
    unit: Unit,
) -> Sheet<'a> {
    let shown = |column, label: &str, need| Shown {
        column,
        label: label.into(),
        over: String::new(),
        need,
    };
    let mut all = vec![
        shown(1, columns::NAME.label, u8::MAX),
        shown(2, columns::EXITS.label, u8::MAX),
        shown(4, columns::SPENT_PERCENT.label, 33),
    ];
    let first = columns().len();
    let over = match snapshot.period {
        Some(_) => "Time after an exit, on average",
        None => "Share of the time",
    };
    for (index, (_, label, need)) in PHASES.into_iter().enumerate() {
        all.push(Shown {
            over: over.into(),
            ..shown(first + index, label, need)
        });
    }
    let mut title = vec![words::time_head(snapshot, selection, unit)];
    title.push(String::new());
    title.extend(budget(breakdown, unit));
    Sheet {
        facts,
        grid,
        shown: all,
        look: Look {
            times: Times::Of(unit),
            width: width(),
            bar: None,
        },
        title,
        notes: notes(breakdown, unit),
    }
}

/// The parts of the time, one a line.
fn budget(breakdown: &Breakdown, unit: Unit) -> Vec<String> {
    const BAR: f64 = 40.0;
    let parts = breakdown.parts.iter().filter(|part| part.cycles > 0);
    parts
        .map(|part| {
            let share = part.percent.unwrap_or(0.0);
            let bar = "#".repeat((share.clamp(0.0, 100.0) / 100.0 * BAR).round() as usize);
            let (name, time) = (said(part.name), unit.show(part.cycles as f64));
            let share = units::percent(share / 100.0);
            format!("{name:<11}{time:>7} {share:>7} {bar}")
                .trim_end()
                .into()
        })
        .collect()
}

/// What people call a part of the time.
fn said(name: &str) -> &str {
    match name {
        GUEST => "guest",
        "exit_path" => "exit path",
        "run_loop" => "run loop",
        other => other,
    }
}

/// What else there is to say.
fn notes(breakdown: &Breakdown, unit: Unit) -> Vec<String> {
    let total = format!("{} of all vCPUs", unit.say(breakdown.elapsed as f64));
    let mut notes = vec![words::label("In total", &total)];
    let trips = breakdown.trips.iter().filter(|trips| trips.trips > 0);
    for (nth, trips) in trips.enumerate() {
        let label = if nth == 0 { "To userspace" } else { "" };
        let average = unit.show(trips.cycles as f64 / trips.trips as f64);
        let (count, time) = (units::grouped(trips.trips), unit.show(trips.cycles as f64));
        let (reason, exit) = (&trips.name, &trips.exit_name);
        let said = format!("{exit} after {reason}: {count}, {time} in all, {average} each");
        notes.push(words::label(label, &said));
    }
    notes
}
