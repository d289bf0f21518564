// SPDX-License-Identifier: GPL-2.0

//! `exitprof diff`: what changed between recordings.

use super::{
    naming::Naming,
    recorded::{self, Times, Which},
    show::Output,
    tell::{is_broken_pipe, tell},
};
use crate::{
    comparison::{Comparison, Order},
    render::{
        changes, facts,
        sheet::{Look, Sheet, instead},
        table, verdict,
    },
    select::{By, Level, Selection},
    snapshot::Snapshot,
};
use anyhow::{Context, Result, ensure};
use clap::ValueHint;
use std::{io::Write, mem, path::PathBuf, process::ExitCode};

/// The exit status if there is more than --fail-above allows.
const ABOVE: u8 = 3;

/// Arguments of `exitprof diff`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// The recordings, the earliest first; or one series, with --at or --between for each part
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    times: Times,
    /// Only this reason, by name or number (repeatable)
    #[arg(long = "reason", value_name = "NAME|NUMBER", value_hint = ValueHint::Other)]
    reasons: Vec<String>,
    /// Only this VM: the process's PID, <pid>-<fd> as in KVM's debugfs, or the name
    /// (repeatable)
    #[arg(long = "vm", short = 'p', value_name = "VM", value_hint = ValueHint::Other)]
    vms: Vec<String>,
    /// Group by
    #[arg(long, value_name = "WHAT", default_value = "reason")]
    by: By,
    /// Sort by the change of this column, in descending order
    #[arg(long, short, value_name = "COLUMN", default_value = "time")]
    sort: Order,
    /// Only the first N rows
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    top: Option<usize>,
    /// Subtract the measurement overhead from the time of each exit
    #[arg(long)]
    net: bool,
    /// Only exits from this level of nested guests
    #[arg(long, value_name = "LEVEL", conflicts_with = "phases")]
    level: Option<Level>,
    /// Compare where the time of vCPUs went: in the guest, in each phase of handling exits, and
    /// off the CPU
    #[arg(long, conflicts_with_all = ["by", "net", "fail_above"])]
    phases: bool,
    /// Exit with status 3 if exits or time grew by more than PERCENT in all
    #[arg(long, value_name = "PERCENT", value_parser = percent, value_hint = ValueHint::Other)]
    fail_above: Option<f64>,
    #[command(flatten)]
    naming: Naming,
    #[command(flatten)]
    output: Output,
    /// Show cycles, even if the frequencies of the TSCs are known
    #[arg(long)]
    cycles: bool,
}

/// Parses a share in percent, with or without its sign.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>();
    let number = number.ok().filter(|n| n.is_finite() && *n >= 0.0);
    number.ok_or("not a number of percent, such as 10%".into())
}

/// Reads parts of recordings: that of each file, all of one file, or the same of all files.
///
/// # Errors
///
/// If they cannot be read, or are fewer than two.
pub(super) fn read(files: &[PathBuf], parts: &[Which]) -> Result<Vec<(String, Snapshot)>> {
    let number = files.len().max(parts.len());
    ensure!(
        number > 1,
        "there is one recording: name another, or two parts of a series by --at or --between"
    );
    ensure!(
        [1, number].contains(&files.len()) && [0, 1, number].contains(&parts.len()),
        "there are {} recordings and {} times: name one time for all, or one for each",
        files.len(),
        parts.len()
    );
    let files = files.iter().cycle().take(number);
    let mut parts = parts.iter().copied().cycle().map(Some);
    files
        .map(|path| recorded::read(path, parts.next().flatten()))
        .collect()
}

/// Prints the changes.
///
/// # Errors
///
/// If the recordings cannot be read or compared.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<ExitCode> {
    let files = read(&arguments.files, &arguments.times.parts())?;
    let selection = Selection {
        reasons: arguments.reasons.clone(),
        vms: arguments.vms.clone(),
        by: arguments.by,
        net: arguments.net,
        level: arguments.level,
        names: arguments.naming.read()?,
        ..Selection::everything()
    };
    let mut comparison = Comparison::new(files, &selection, arguments.sort, arguments.cycles)?;
    if arguments.phases {
        comparison = comparison.by_phase(&selection, arguments.sort)?;
    }
    let mut exporter = arguments.output.format().exporter();
    let top = arguments.top.unwrap_or(usize::MAX);
    let mut title = verdict::title(&comparison);
    let facts = facts::Diff::new(&comparison);
    let look = Look {
        times: changes::times(&comparison),
        width: table::width(),
        bar: None,
    };
    let budget = changes::budget(&comparison).filter(|_| exporter.is_for_people());
    if let Some(grid) = &budget {
        let sheet = Sheet {
            instead: None,
            facts: &facts,
            reading: None,
            grid,
            shown: changes::budget_shown(&comparison),
            look,
            title: mem::take(&mut title),
            notes: Vec::new(),
        };
        exporter.sheet(&sheet, out)?;
        exporter.say(&[String::new()], out)?;
    }
    let sheet = Sheet {
        instead: instead(arguments.top),
        facts: &facts,
        reading: None,
        grid: &changes::grid(&comparison, top, exporter.is_for_people()),
        shown: changes::shown(&comparison, selection.by),
        look,
        title,
        notes: verdict::notes(&comparison, top),
    };
    let printed = exporter.sheet(&sheet, out).and_then(|()| Ok(out.flush()?));
    let Some(limit) = arguments.fail_above else {
        return printed.map(|()| ExitCode::SUCCESS);
    };
    // Without a reader, the status is what matters.
    printed.or_else(|e| if is_broken_pipe(&e) { Ok(()) } else { Err(e) })?;
    let exceeded = verdict::exceeded(&comparison, limit).context(
        "the recordings have no figure that --fail-above could compare: record a period with \
         exitprof record FILE -- COMMAND",
    )?;
    if exceeded.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tell(format_args!("{}: more than {limit}%", exceeded.join(", ")));
    Ok(ExitCode::from(ABOVE))
}
