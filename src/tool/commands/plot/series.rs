// SPDX-License-Identifier: GPL-2.0

//! Pictures of a series, over time.

use super::{Arguments, What, still::check_host};
use crate::{
    commands::{recorded::Which, tell::tell},
    continuity::REPLACED,
    plot::{Picture, timeline::Timeline},
    recording::{Recording, when::find_both},
    render::{units, words},
    select::{By, Selection},
};
use anyhow::{Result, ensure};
use jiff::tz::TimeZone;

impl Arguments {
    /// A picture of a series, over time.
    pub(super) fn of_series(
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
                timeline.phases(&last)?
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
