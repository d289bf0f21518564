// SPDX-License-Identifier: GPL-2.0

//! `exitprof plot`: pictures of what was counted.

mod series;
mod still;

use super::{
    diff,
    naming::Naming,
    record::{
        now_or_for,
        output::{check, replace},
    },
    recorded::{self, Times, Which},
    seconds::seconds,
};
use crate::{
    render::units::Unit,
    select::{By, Level, Selection, Sort},
    snapshot::Snapshot,
    source::Choice,
};
use anyhow::{Context, Result, bail, ensure};
use clap::{ValueEnum, ValueHint};
use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// Arguments of `exitprof plot`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// What to draw
    what: What,
    /// Output file: its name ends in .svg or .png; - is the standard output
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// Format [default: as the output file's name says, or svg]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Read a recording, a series, or a copy of the file profile in debugfs; - is the standard
    /// input. Given twice, the two are compared
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["source", "debugfs"])]
    input: Vec<PathBuf>,
    #[command(flatten)]
    times: Times,
    /// Draw only what is counted in the next SECONDS, or until Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds, conflicts_with = "input")]
    time: Option<Duration>,
    /// Only this reason, by name or number (repeatable)
    #[arg(long = "reason", value_name = "NAME|NUMBER", value_hint = ValueHint::Other)]
    reasons: Vec<String>,
    /// Only this VM: the process's PID, <pid>-<fd> as in KVM's debugfs, or the name
    /// (repeatable)
    #[arg(long = "vm", short = 'p', value_name = "VM", value_hint = ValueHint::Other)]
    vms: Vec<String>,
    /// Only vCPUs with this number
    #[arg(long, value_name = "N", value_hint = ValueHint::Other)]
    vcpu: Option<u32>,
    /// Group by [default: reason; of a heatmap, vcpu]
    #[arg(long, value_name = "WHAT")]
    by: Option<By>,
    /// Sort by this figure; rates and heat maps show it [default: exits; of changes, time]
    #[arg(long, short, value_name = "FIGURE")]
    sort: Option<Figure>,
    /// Only the first N rows [default: as many as can be read]
    #[arg(long, value_name = "N", value_hint = ValueHint::Other, value_parser = clap::value_parser!(u16).range(1..))]
    top: Option<u16>,
    /// Subtract the measurement overhead from the time of each exit
    #[arg(long)]
    net: bool,
    /// Only exits from this level of nested guests
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    #[command(flatten)]
    naming: Naming,
    /// Show cycles, even if the frequency of the host's TSC is known
    #[arg(long)]
    cycles: bool,
    #[command(flatten)]
    choice: Choice,
}

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Exits and the time that they took, a bar each
    Exits,
    /// How long exits took: histograms of reasons
    Histogram,
    /// Rates over time, of a series
    Rate,
    /// Where the time of vCPUs went: by reason, or of a series over time
    Phases,
    /// vCPUs by reason, or of a series over time
    Heatmap,
}

/// What to sort by, and to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Number of exits
    Exits,
    /// Time in KVM's handlers; by BPF, from exit to entry
    Time,
}

/// The format of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Lines and text, for pages and print
    Svg,
    /// Pixels
    Png,
}

/// Draws a picture.
///
/// # Errors
///
/// If there is nothing to read or draw, or the file cannot be written.
pub fn run(arguments: &Arguments) -> Result<()> {
    let (file, format) = destination(arguments.output.as_deref(), arguments.format)?;
    if let Some(file) = file {
        check(file).with_context(|| file.display().to_string())?;
    }
    let selection = arguments.selection()?;
    let picture = match (
        arguments.input.as_slice(),
        arguments.times.parts().as_slice(),
    ) {
        ([], parts) => {
            ensure!(
                parts.is_empty(),
                "--at and --between choose from a series: name its file with -i"
            );
            let (_, snapshot) = now_or_for(&arguments.choice, arguments.time)?;
            arguments.of_snapshot(&snapshot, &selection)?
        }
        ([file], [] | [_]) => {
            let part = arguments.times.part()?;
            let mut recording = recorded::open(file)?;
            let is_timed = recording.is_series() && !matches!(part, Some(Which::At(_)));
            match arguments.what {
                What::Exits | What::Histogram => {
                    arguments.of_snapshot(&recorded::read(file, part)?.1, &selection)?
                }
                _ if is_timed => arguments.of_series(&mut recording, part, &selection)?,
                _ => arguments.of_snapshot(&recorded::read(file, part)?.1, &selection)?,
            }
        }
        (files, parts) => {
            let both = diff::read(files, parts)?;
            ensure!(
                both.len() == 2,
                "a picture compares two recordings, not more"
            );
            arguments.of_both(both, &selection)?
        }
    };
    let bytes = match format {
        Format::Svg => picture.svg()?.into_bytes(),
        Format::Png => picture.png()?,
    };
    match file {
        Some(file) => (replace(file, &bytes).map(drop)).with_context(|| file.display().to_string()),
        None => {
            let mut out = io::stdout().lock();
            out.write_all(&bytes)?;
            Ok(out.flush()?)
        }
    }
}

/// Where to write what; none is the standard output.
fn destination(output: Option<&Path>, format: Option<Format>) -> Result<(Option<&Path>, Format)> {
    let Some(file) = output.filter(|file| *file != Path::new("-")) else {
        ensure!(
            !io::stdout().is_terminal(),
            "a terminal cannot show a picture: name a file with -o FILE.svg or -o FILE.png"
        );
        return Ok((None, format.unwrap_or(Format::Svg)));
    };
    let ends_in = |end: &str| {
        file.extension()
            .is_some_and(|e: &OsStr| e.eq_ignore_ascii_case(end))
    };
    let format = match format {
        Some(format) => format,
        None if ends_in("svg") => Format::Svg,
        None if ends_in("png") => Format::Png,
        None => bail!(
            "{}: the name ends neither in .svg nor in .png: add --format svg or --format png",
            file.display()
        ),
    };
    Ok((Some(file), format))
}

impl Arguments {
    fn selection(&self) -> Result<Selection> {
        Ok(Selection {
            reasons: self.reasons.clone(),
            vms: self.vms.clone(),
            vcpu: self.vcpu,
            by: self.by.unwrap_or(By::Reason),
            sort: match self.sort {
                Some(Figure::Time) => Sort::Time,
                _ => Sort::Exits,
            },
            top: self.top.map(usize::from),
            net: self.net,
            level: self.level,
            names: self.naming.read()?,
            ..Selection::everything()
        })
    }

    fn top(&self) -> usize {
        self.top.map_or(usize::MAX, usize::from)
    }

    fn unit(&self, snapshot: &Snapshot) -> Unit {
        Unit::of(snapshot, self.cycles)
    }
}
