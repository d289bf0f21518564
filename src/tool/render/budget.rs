// SPDX-License-Identifier: GPL-2.0

//! Shows where time went: a budget of the phases, then reasons by phases.

use super::{
    facts,
    grid::{Column, Grid, Rows},
    rows,
    sheet::{Look, Sheet, Shown, Times, instead},
    table::{bar, width},
    units::{self, Unit},
    words,
};
use crate::{
    budget::{Breakdown, Row},
    columns::{self, Meta},
    select::Selection,
    snapshot::Snapshot,
    view::percent,
};
use profile::phases::Phase;

/// The guest's column and those of the phases for programs, whose headings people see, too; and
/// how much people need them: the guest, handlers and userspace most, and polling least.
pub const PARTS: [(&Meta, u8); 1 + Phase::ALL.len()] = [
    (&columns::GUEST, 33),
    (&columns::EXIT_PATH, 20),
    (&columns::HANDLER, 32),
    (&columns::RUN_LOOP, 21),
    (&columns::USERSPACE, 31),
    (&columns::POLLING, 10),
    (&columns::HALTED, 30),
    (&columns::PREEMPTED, 22),
    (&columns::SLEEPING, 12),
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
pub fn columns<'a>(breakdown: Option<&Breakdown>) -> Vec<Column<'a, Row>> {
    let mut columns = vec![
        Column::new(&columns::REASON, |row: &Row| row.reason),
        Column::new(&columns::NAME, |row: &Row| row.name.clone()),
        Column::new(&columns::EXITS, |row: &Row| row.exits),
        Column::new(&columns::SPENT, |row: &Row| row.cycles),
        Column::new(&columns::SPENT_PERCENT, |row: &Row| row.percent),
    ];
    for (phase, (meta, _)) in Phase::ALL.into_iter().zip(&PARTS[1..]) {
        columns.push(Column::new(meta, move |row: &Row| {
            row.spent[phase as usize]
        }));
    }
    let time = breakdown.map(|breakdown| breakdown.time);
    columns.push(Column::fact(&columns::GUEST, time.map(|time| time.guest)));
    columns.push(Column::fact(
        &columns::ELAPSED,
        time.map(|time| time.elapsed),
    ));
    columns
}

/// The table: for people, the average of each phase after a timed exit, if the snapshot is of a
/// period. Otherwise, there may have been exits before phases were recorded, and people see the
/// share of each phase.
pub fn grid<'a>(snapshot: &Snapshot, breakdown: &'a Breakdown) -> Rows<'a, Row> {
    let mut columns = columns(Some(breakdown));
    columns.push(rows::clock(snapshot));
    for phase in Phase::ALL {
        let cycles = move |row: &Row| Some(row.spent[phase as usize]).filter(|&cycles| cycles > 0);
        let elapsed = breakdown.time.elapsed;
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

/// The sheet for people, with the budget above the table.
pub fn sheet<'a>(
    grid: &'a Rows<'a, Row>,
    facts: &'a facts::PhaseReport,
    snapshot: &'a Snapshot,
    selection: &'a Selection,
    breakdown: &Breakdown,
    unit: Unit,
) -> Sheet<'a> {
    let heads = grid.heads();
    let at = |meta: &Meta| heads.iter().position(|head| head.meta == meta);
    let mut all = Vec::new();
    let mut add = |column: Option<usize>, label: &str, over: &str, need| {
        all.extend(column.map(|column| Shown {
            column,
            label: label.into(),
            over: over.into(),
            need,
        }));
    };
    for (meta, need) in [
        (&columns::NAME, u8::MAX),
        (&columns::EXITS, u8::MAX),
        (&columns::SPENT_PERCENT, 33),
    ] {
        add(at(meta), meta.label, "", need);
    }
    let (meta, over) = match snapshot.period {
        Some(_) => (&AVERAGE, "Time after an exit, on average"),
        None => (&SHARE, "Share of the time"),
    };
    for (index, (phase, need)) in PARTS[1..].iter().enumerate() {
        add(
            at(meta).map(|first| first + index),
            phase.label,
            over,
            *need,
        );
    }
    Sheet {
        instead: instead(selection.top),
        facts,
        reading: Some((snapshot, selection)),
        grid,
        shown: all,
        look: Look {
            times: Times::Of(unit),
            width: width(),
            bar: None,
        },
        title: [String::new()]
            .into_iter()
            .chain(lines(breakdown, unit))
            .collect(),
        notes: Vec::new(),
    }
}

/// The parts of the time, one a line.
pub fn lines(breakdown: &Breakdown, unit: Unit) -> Vec<String> {
    const BAR: usize = 40;
    // The name, the time and the share take the rest.
    let room = width().saturating_sub(27).min(BAR);
    let parts = breakdown.parts.iter().filter(|part| part.cycles > 0);
    parts
        .map(|part| {
            let (name, time) = (said(part.name), unit.show(part.cycles as f64));
            let share = units::percent(part.percent.unwrap_or(0.0) / 100.0);
            let line = format!("{name:<11}{time:>7} {share:>7} {}", bar(part.percent, room));
            line.trim_end().into()
        })
        .collect()
}

/// What people call a part of the time.
pub fn said(name: &str) -> &str {
    match name {
        "exit_path" => "exit path",
        "run_loop" => "run loop",
        other => other,
    }
}

/// What else there is to say.
pub fn notes(breakdown: &Breakdown, unit: Unit) -> Vec<String> {
    let total = match breakdown.time.elapsed {
        0 => "no vCPU had any time".into(),
        elapsed => format!("{} of all vCPUs", unit.say(elapsed as f64)),
    };
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
