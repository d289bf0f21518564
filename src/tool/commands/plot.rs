// SPDX-License-Identifier: GPL-2.0

//! `exitprof plot`: pictures of what was counted.

use super::{
    diff,
    naming::Naming,
    record::output::{check, replace},
    recorded::{self, Times, Which},
    tell::tell,
};
use crate::{
    budget::{self, Breakdown},
    comparison::{Comparison, Order},
    continuity::REPLACED,
    plot::{Picture, exits, latency, phases, timeline::Timeline, vcpus},
    recording::{Recording, when::find_both},
    render::{
        units::{self, Unit},
        verdict, words,
    },
    select::{By, Level, Selection, Sort},
    snapshot::{Origin, Snapshot},
    source::{Choice, Source},
    view::View,
};
use anyhow::{Context, Result, bail, ensure};
use clap::{ValueEnum, ValueHint};
use jiff::tz::TimeZone;
use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
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
    /// Time in KVM's handlers
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
            let snapshot = Source::find(&arguments.choice)?.read()?;
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
        Unit::new(snapshot.tsc_khz, self.cycles)
    }

    /// Checks that the picture can be grouped as asked for.
    fn check_by(&self, possible: &[By], which: &str) -> Result<()> {
        ensure!(
            self.by.is_none_or(|by| possible.contains(&by)),
            "this picture has no such groups: leave out --by, or say {which}"
        );
        Ok(())
    }

    /// A picture of one snapshot.
    fn of_snapshot(&self, snapshot: &Snapshot, selection: &Selection) -> Result<Picture> {
        let unit = self.unit(snapshot);
        let mut picture = match self.what {
            What::Exits => exits::of_view(&View::new(snapshot, selection)?, unit),
            What::Histogram => {
                self.check_by(&[By::Reason], "--by reason")?;
                latency::of_view(&View::new(snapshot, &few(selection))?, unit)?
            }
            What::Rate => {
                bail!("rates over time need a series: exitprof record --interval 1 FILE makes one")
            }
            What::Phases => self.phases(snapshot, selection)?,
            What::Heatmap => {
                check_host(snapshot, "")?;
                let vms = [By::Vm, By::VmReason];
                self.check_by(&[By::Vcpu, By::VcpuReason, By::Vm, By::VmReason], "--by vm")?;
                let by = match self.by {
                    Some(by) if vms.contains(&by) => By::VmReason,
                    _ => By::VcpuReason,
                };
                let selection = Selection {
                    by,
                    ..selection.clone()
                };
                vcpus::of_view(&View::new(snapshot, &selection)?, selection.sort, unit)?
            }
        };
        picture.head = match self.what {
            What::Phases => vec![words::time_head(snapshot, selection, unit)],
            _ => vec![words::head(snapshot, selection, unit)],
        };
        picture.notes.extend(lasted(snapshot));
        picture.notes.extend(words::recorded(snapshot));
        Ok(picture)
    }

    fn phases(&self, snapshot: &Snapshot, selection: &Selection) -> Result<Picture> {
        self.check_by(&[By::Reason, By::Vm, By::Vcpu], "--by vm or --by vcpu")?;
        let breakdown = Breakdown::new(snapshot, selection)?;
        let (top, unit) = (self.top(), self.unit(snapshot));
        Ok(match selection.by {
            By::Reason => phases::of_breakdown(&breakdown, top, unit),
            _ => {
                let times = budget::by_owner(snapshot, selection);
                phases::of_owners(&times, snapshot, top, unit)
            }
        })
    }

    /// A picture of two snapshots.
    fn of_both(&self, both: Vec<(String, Snapshot)>, selection: &Selection) -> Result<Picture> {
        let order = match self.sort {
            Some(Figure::Exits) => Order::Exits,
            _ => Order::Time,
        };
        let comparison = Comparison::new(both, selection, order, self.cycles)?;
        let [a, b] = comparison.parts.as_slice() else {
            bail!("a picture compares two recordings");
        };
        let mut picture = match self.what {
            What::Exits => exits::of_comparison(&comparison, self.top()),
            What::Histogram => {
                self.check_by(&[By::Reason], "--by reason")?;
                let view = |snapshot| View::of_part(snapshot, &few(selection));
                let views = [&view(&a.snapshot)?, &view(&b.snapshot)?];
                latency::of_views(views, self.unit(&b.snapshot))?
            }
            What::Phases => {
                self.check_by(&[By::Reason], "--by reason")?;
                let breakdown = |snapshot| Breakdown::new(snapshot, selection);
                let both = [&breakdown(&a.snapshot)?, &breakdown(&b.snapshot)?];
                phases::of_both(
                    both,
                    self.top(),
                    [&a.snapshot, &b.snapshot].map(|s| self.unit(s)),
                )
            }
            What::Rate | What::Heatmap => {
                bail!("this picture is of one recording: name one with -i")
            }
        };
        picture.head = verdict::title(&comparison);
        Ok(picture)
    }

    /// A picture of a series, over time.
    fn of_series(
        &self,
        recording: &mut Recording,
        part: Option<Which>,
        selection: &Selection,
    ) -> Result<Picture> {
        let moments = recording.moments();
        let range = match part {
            Some(Which::Between(times)) => find_both(times, moments, &TimeZone::system())?,
            _ => [0, moments.len() - 1],
        };
        let start = moments[range[0]];
        let last = recording.read(range[1])?;
        let selection = match self.what {
            What::Heatmap => Selection {
                by: self.by.unwrap_or(By::Vcpu),
                ..selection.clone()
            },
            _ => selection.clone(),
        };
        let selection = Selection {
            // A vCPU that rests is not one that does not exist.
            all: matches!(selection.by, By::Vm | By::Vcpu),
            ..selection
        };
        if self.what == What::Heatmap && selection.by != By::Reason {
            check_host(&last, ": --by reason shows its reasons over time")?;
        }
        selection.check(&[&last, &recording.read(range[0])?])?;
        let most = if self.what == What::Heatmap { 120 } else { 240 };
        let timeline = self.timeline(recording, range, most, &selection)?;
        let unit = self.unit(&last);
        let mut picture = match self.what {
            What::Phases => {
                self.check_by(&[By::Reason], "--by reason")?;
                timeline.phases()?
            }
            What::Heatmap => timeline.heat_map()?,
            _ => timeline.rates()?,
        };
        picture.head = vec![match self.what {
            What::Phases => words::time_head(&last, &selection, unit),
            _ => words::head(&last, &selection, unit),
        }];
        let start = start
            .clock
            .map_or("the start of the series".into(), units::when);
        let machine = last.machine.map(|machine| format!(" on {machine}"));
        let machine = machine.unwrap_or_default();
        picture
            .notes
            .insert(0, format!("Across: time since {start}{machine}"));
        Ok(picture)
    }

    /// What was counted in the intervals of a part of a series, of which several are taken
    /// together if there are more than `most`.
    fn timeline<'a>(
        &self,
        recording: &mut Recording,
        [first, last]: [usize; 2],
        most: usize,
        selection: &'a Selection,
    ) -> Result<Timeline<'a>> {
        ensure!(
            first < last,
            "the series has one snapshot, so no interval: record it for a longer time"
        );
        let step = (last - first).div_ceil(most);
        let offsets = recording
            .moments()
            .iter()
            .map(|moment| moment.offset.as_secs_f64());
        let offsets: Vec<f64> = offsets.collect();
        let mut timeline = Timeline::new(selection);
        let mut before = recording.read(first)?;
        let mut index = first;
        while index < last {
            let next = (index + step).min(last);
            let now = recording.read(next)?;
            let to = offsets[next] - offsets[first];
            let unit = self.unit(&now);
            match now.since(&before) {
                Ok(added) => {
                    let from = offsets[index] - offsets[first];
                    timeline.add((from, to), &added, unit)?;
                }
                Err(why) => {
                    tell(format_args!(
                        "at {:.1} s: {REPLACED} ({why})",
                        offsets[next]
                    ));
                    if let Some(start) = now.started_after(&before) {
                        let added = now.since(&start)?;
                        let counted = added.seconds().unwrap_or(0.0);
                        timeline.add((to - counted, to), &added, unit)?;
                    }
                }
            }
            (index, before) = (next, now);
        }
        Ok(timeline)
    }
}

/// The selection of a few reasons, unless others are named.
fn few(selection: &Selection) -> Selection {
    let few = if selection.reasons.is_empty() {
        Some(3)
    } else {
        None
    };
    Selection {
        top: selection.top.or(few),
        ..selection.clone()
    }
}

fn check_host(snapshot: &Snapshot, instead: &str) -> Result<()> {
    ensure!(
        snapshot.origin == Origin::Host,
        "a guest cannot see VMs and vCPUs{instead}"
    );
    Ok(())
}

/// How long a snapshot counted.
fn lasted(snapshot: &Snapshot) -> Option<String> {
    Some(format!(
        "Counted for {}",
        units::duration(snapshot.seconds()?)
    ))
}
