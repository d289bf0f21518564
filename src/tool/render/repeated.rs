// SPDX-License-Identifier: GPL-2.0

//! The table of several runs of a command: means and standard deviations.

use super::{
    facts::Head,
    grid::{Column, Grid, Rows},
    rows::{NAME_LABEL, OWNER_LABEL, heading, name_columns, owner_heading},
    sheet::{Look, Sheet, Shown, Times, instead},
    units::{Unit, counted, deviating, when},
    words::label,
};
use crate::{
    columns::{self, Kind, Meta},
    rate::Spread,
    select::{By, Key, Selection},
    snapshot::Snapshot,
};
use schemars::JsonSchema;
use serde::Serialize;

/// A share of the mean, for people.
const SHARE: Meta = Meta {
    name: "",
    label: "+-",
    perf: "",
    kind: Kind::Percent,
    help: "",
};

/// A row of all runs.
#[derive(Clone, Debug)]
pub struct Repeated {
    /// What it counts.
    pub key: Key,
    /// The VM's name, if it counts one and it has a name.
    pub vm_name: Option<String>,
    /// The number of exits.
    pub exits: Spread,
    /// The cycles of the timed exits, if any was timed.
    pub cycles: Option<Spread>,
    /// The average cycles of a timed exit, if all runs have one.
    pub avg: Option<Spread>,
}

/// What `stat -r` prints: a line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Repeat")]
pub struct Facts {
    #[serde(flatten)]
    head: Head,
    /// The number of runs.
    runs: usize,
    /// How many seconds a run took.
    seconds: Spread,
    /// The exits of a run, of all selected reasons.
    exits: Spread,
    /// Their TSC cycles.
    cycles: Spread,
}

impl Facts {
    /// What is known of the runs, the last of which ended with `snapshot`.
    pub fn new(snapshot: &Snapshot, runs: usize, [seconds, exits, cycles]: [Spread; 3]) -> Facts {
        Facts {
            head: Head::new(snapshot),
            runs,
            seconds,
            exits,
            cycles,
        }
    }
}

/// The columns.
pub fn columns<'a>() -> Vec<Column<'a, Repeated>> {
    let share = |spread: Spread| spread.share().map(|share| share * 100.0);
    vec![
        Column::new(&columns::REASON, |row: &Repeated| row.key.reason),
        Column::new(&columns::NAME, |row: &Repeated| row.key.name.clone()),
        Column::new(&columns::EXITS_MEAN, |row: &Repeated| row.exits.mean),
        Column::new(&columns::EXITS_DEVIATION, |row: &Repeated| {
            row.exits.deviation
        }),
        Column::new(&columns::CYCLES_MEAN, |row: &Repeated| {
            row.cycles.map(|cycles| cycles.mean)
        }),
        Column::new(&columns::CYCLES_DEVIATION, |row: &Repeated| {
            row.cycles.map(|cycles| cycles.deviation)
        }),
        Column::new(&columns::AVG_MEAN, |row: &Repeated| {
            row.avg.map(|avg| avg.mean)
        }),
        Column::new(&columns::AVG_DEVIATION, |row: &Repeated| {
            row.avg.map(|avg| avg.deviation)
        }),
        Column::new(&columns::VM, |row: &Repeated| row.key.vm.clone()),
        Column::new(&columns::VCPU, |row: &Repeated| row.key.vcpu),
        Column::new(&columns::OWNER, |row: &Repeated| row.key.owner.clone()),
        Column::new(&columns::VM_NAME, |row: &Repeated| row.vm_name.clone()),
        Column::new(&OWNER_LABEL, |row: &Repeated| row.key.owner.clone()),
        Column::new(&NAME_LABEL, |row: &Repeated| row.key.name.clone()),
        Column::new(&SHARE, move |row: &Repeated| share(row.exits)).of("exits"),
        Column::new(&SHARE, move |row: &Repeated| row.cycles.and_then(share)).of("cycles"),
        Column::new(&SHARE, move |row: &Repeated| row.avg.and_then(share)).of("avg"),
    ]
}

/// The table.
pub fn grid(rows: &[Repeated]) -> Rows<'_, Repeated> {
    let columns = columns();
    Rows { columns, rows }
}

/// A sheet of that table.
pub fn sheet<'a>(
    grid: &'a dyn Grid,
    facts: &'a Facts,
    selection: &Selection,
    unit: Unit,
    width: usize,
) -> Sheet<'a> {
    let heads = grid.heads();
    let mut shown = Vec::new();
    let mut add = |meta: &Meta, group: Option<&str>, label: &str, over: &str, need| {
        let mut heads = heads.iter();
        let column = heads.position(|head| head.meta == meta && head.group.as_deref() == group);
        shown.extend(column.map(|column| Shown {
            column,
            label: label.into(),
            over: over.into(),
            need,
        }));
    };
    let by = selection.by;
    let [owner, name] = name_columns(by);
    if by.has_owner() {
        add(owner, None, owner_heading(by), "", u8::MAX);
        add(&columns::VM_NAME, None, columns::VM_NAME.label, "", 40);
    }
    add(name, None, heading(by), "", u8::MAX);
    if matches!(by, By::Vm | By::Vcpu) {
        add(&columns::VM_NAME, None, columns::VM_NAME.label, "", 40);
    }
    for (mean, group, over, need) in [
        (&columns::EXITS_MEAN, "exits", "Exits", u8::MAX),
        (&columns::CYCLES_MEAN, "cycles", "Time", 30),
        (&columns::AVG_MEAN, "avg", "Avg", 20),
    ] {
        add(mean, None, "Mean", over, need);
        add(&SHARE, Some(group), SHARE.label, over, need);
    }
    let spread = |spread: Spread, show: &dyn Fn(f64) -> String| {
        deviating(show(spread.mean), show(spread.deviation), spread.share())
    };
    let time = |cycles: f64| unit.say(cycles);
    let runs = counted(facts.runs as u64, "run", "runs");
    let exits = spread(facts.exits, &|exits| format!("{exits:.1}"));
    let ended = facts.head.clock.map(|clock| label("Ended", when(clock)));
    let mut notes = vec![
        label("Exits", format!("{exits} in each of {runs}")),
        label("Time", spread(facts.cycles, &time)),
        label("Duration", spread(facts.seconds, &|s| format!("{s:.3} s"))),
    ];
    notes.extend(ended);
    Sheet {
        instead: instead(selection.top),
        facts,
        reading: None,
        grid,
        shown,
        look: Look {
            times: Times::Of(unit),
            width,
            bar: None,
        },
        title: Vec::new(),
        notes,
    }
}
