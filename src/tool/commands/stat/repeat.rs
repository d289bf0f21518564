// SPDX-License-Identifier: GPL-2.0

//! `exitprof stat -r N -- COMMAND`: what several runs of a command count on average.

use super::printer::Printer;
use crate::{
    commands::{child, restart::difference, tell::tell},
    rate::Spread,
    render::repeated::Repeated,
    select::{Key, Selection, Sort},
    snapshot::Snapshot,
    source::Source,
    view::{Row, View},
};
use anyhow::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    process::ExitCode,
    time::Instant,
};

/// What a run counted.
struct Run {
    rows: BTreeMap<Key, Row>,
    seconds: f64,
    exits: f64,
    cycles: f64,
}

/// Runs a command so many times, and prints what its runs counted. Ends early if a run fails,
/// with its exit status.
///
/// # Errors
///
/// If nothing can be read or printed.
pub fn run(
    program: &OsStr,
    arguments: &[OsString],
    times: u32,
    selection: &Selection,
    source: &mut Source,
    printer: &mut Printer<'_>,
) -> Result<ExitCode> {
    let mut runs = Vec::new();
    let mut last = None;
    let mut result = Ok(ExitCode::SUCCESS);
    for nth in 1..=times {
        let first = match source.read() {
            Ok(first) => first,
            Err(e) => {
                result = Err(e);
                break;
            }
        };
        let start = Instant::now();
        let status = match child::run(program, arguments, None)? {
            Ok(status) => status,
            Err(code) => return Ok(code),
        };
        let seconds = start.elapsed().as_secs_f64();
        if !status.success() {
            tell(format_args!("run {nth} of {times} failed, and is left out"));
            result = Ok(child::exit_code(status));
            break;
        }
        match source.read().and_then(|now| difference(&now, &first)) {
            Ok(delta) => {
                runs.push(Run::new(&delta, selection, seconds)?);
                last = Some(delta);
            }
            // What the runs before have counted is not lost.
            Err(e) => {
                result = Err(e);
                break;
            }
        }
    }
    if let Some(last) = last {
        print(&runs, &last, selection, printer)?;
    }
    result
}

impl Run {
    fn new(delta: &Snapshot, selection: &Selection, seconds: f64) -> Result<Run> {
        let view = View::of_part(delta, selection)?;
        Ok(Run {
            exits: view.selected.exits as f64,
            cycles: view.selected.cycles as f64,
            seconds,
            rows: view.rows.into_iter().map(|row| (row.key(), row)).collect(),
        })
    }
}

fn print(
    runs: &[Run],
    last: &Snapshot,
    selection: &Selection,
    printer: &mut Printer<'_>,
) -> Result<()> {
    let spread = |of: &dyn Fn(&Run) -> f64| Spread::of(&runs.iter().map(of).collect::<Vec<_>>());
    let keys: BTreeSet<&Key> = runs.iter().flat_map(|run| run.rows.keys()).collect();
    let row = |key: &Key| {
        let avg: Option<Vec<f64>> = runs.iter().map(|run| run.rows.get(key)?.avg).collect();
        let of = |figure: fn(&Row) -> u128| {
            spread(&|run: &Run| run.rows.get(key).map_or(0.0, |row| figure(row) as f64))
        };
        let mut in_runs = runs.iter().filter_map(|run| run.rows.get(key));
        let is_timed = |row: &Row| row.untimed != Some(row.exits);
        Repeated {
            key: key.clone(),
            vm_name: in_runs.clone().find_map(|row| row.vm_name.clone()),
            exits: of(|row| row.exits),
            cycles: in_runs.any(is_timed).then(|| of(|row| row.cycles)),
            avg: avg.map(|avg| Spread::of(&avg)),
        }
    };
    let mut rows: Vec<Repeated> = keys.into_iter().map(row).collect();
    let figure = |row: &Repeated| match selection.sort {
        Sort::Reason => None,
        Sort::Time => row.cycles,
        Sort::Avg => row.avg,
        _ => Some(row.exits),
    };
    let mean = |row: &Repeated| figure(row).map_or(-1.0, |figure| figure.mean);
    rows.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    rows.truncate(selection.top.unwrap_or(usize::MAX));
    let figures = [
        spread(&|run| run.seconds),
        spread(&|run| run.exits),
        spread(&|run| run.cycles),
    ];
    printer.repeated(last, &rows, runs.len(), figures)
}
