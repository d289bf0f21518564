// SPDX-License-Identifier: GPL-2.0

//! Times in a recording, as people write them.

use super::Moment;
use anyhow::{Context, Error, Result, ensure};
use jiff::{
    SignedDuration, Timestamp, civil,
    tz::{Disambiguation, TimeZone},
};
use std::str::FromStr;

/// A time in a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long after its start.
    After(SignedDuration),
    /// So long before its end.
    Before(SignedDuration),
    /// A date and time of day.
    Date(Timestamp),
    /// A date and time of day, in the zone of this machine.
    Local(civil::DateTime),
    /// A time of day, in the zone of this machine, when the recording first had it.
    Day(civil::Time),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        match text {
            "start" => return Ok(When::After(SignedDuration::ZERO)),
            "end" => return Ok(When::Before(SignedDuration::ZERO)),
            _ => (),
        }
        let (rest, is_before) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if let Some(time) = duration(rest) {
            return Ok(if is_before {
                When::Before(time)
            } else {
                When::After(time)
            });
        }
        let date = || text.parse().map(When::Date);
        let local = || text.parse().map(When::Local);
        let day = || text.parse().map(When::Day);
        date().or_else(|_| local()).or_else(|_| day()).map_err(|_| {
            "not a time, such as 90s, -5m (before the end), start, end, 14:03 or \
             '2026-11-26 14:03:20'"
                .into()
        })
    }
}

/// A time span without a sign; a number is one of seconds.
fn duration(text: &str) -> Option<SignedDuration> {
    let is_time_of_day = text.contains(':');
    if is_time_of_day || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.parse::<f64>() {
        Ok(seconds) => SignedDuration::try_from_secs_f64(seconds).ok(),
        Err(_) => text
            .parse()
            .ok()
            .filter(|time| *time >= SignedDuration::ZERO),
    }
}

impl When {
    /// The index of the moment that is nearest. `zone` is that of this machine.
    ///
    /// # Errors
    ///
    /// If the recording, of these `moments`, does not include that time.
    pub fn find(self, moments: &[Moment], zone: &TimeZone) -> Result<usize> {
        let times = match self {
            When::After(_) | When::Before(_) => offsets(moments),
            _ => clocks(moments)?,
        };
        let ends = times.first().zip(times.last());
        let (&first, &last) = ends.context("the recording has no snapshots")?;
        // Snapshots come a little late, so the last one may be before the time that was asked
        // for, and the first after it.
        let slack = |pair: Option<&[SignedDuration]>| match pair {
            Some([a, b]) => (*b - *a).abs(),
            _ => SignedDuration::from_secs(1),
        };
        let earliest = first.saturating_sub(slack(times.get(..2)));
        let latest = last.saturating_add(slack(times.get(times.len().wrapping_sub(2)..)));
        let is_in = |time: &SignedDuration| (earliest..=latest).contains(time);
        let time = match self {
            When::After(time) => Some(first.saturating_add(time)),
            When::Before(time) => Some(last.saturating_sub(time)),
            When::Date(date) => Some(date.as_duration()),
            When::Local(local) => Some(instant(local, zone)?),
            When::Day(time) => days(first, zone)?
                .map(|day| instant(day.to_datetime(time), zone))
                .take_while(|time| time.as_ref().is_ok_and(|time| *time <= latest))
                .filter_map(Result::ok)
                .find(is_in),
        };
        let time = time.filter(is_in).with_context(|| outside(moments, zone))?;
        let near = (0..times.len()).min_by_key(|&index| (times[index] - time).abs());
        near.context("the recording has no snapshots")
    }
}

fn offsets(moments: &[Moment]) -> Vec<SignedDuration> {
    let offset = |moment: &Moment| SignedDuration::try_from(moment.offset);
    let offsets = moments.iter().map(offset);
    offsets
        .map(|time| time.unwrap_or(SignedDuration::MAX))
        .collect()
}

/// The times since 1970.
fn clocks(moments: &[Moment]) -> Result<Vec<SignedDuration>> {
    let clocks = moments
        .iter()
        .map(|moment| Some(moment.clock?.as_duration()));
    let clocks: Option<Vec<_>> = clocks.collect();
    clocks.context("the recording does not say the time of day: use times since its start, as 10s")
}

fn instant(local: civil::DateTime, zone: &TimeZone) -> Result<SignedDuration> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let instant = ambiguous.disambiguate(Disambiguation::Compatible)?;
    Ok(instant.as_duration())
}

/// The days from the one before `first` on.
fn days(first: SignedDuration, zone: &TimeZone) -> Result<impl Iterator<Item = civil::Date>> {
    let first = Timestamp::from_duration(first)?;
    let day = zone.to_datetime(first).date();
    let day = day.yesterday().unwrap_or(day);
    Ok(std::iter::successors(Some(day), |day| day.tomorrow().ok()))
}

/// Says what times the recording includes.
fn outside(moments: &[Moment], zone: &TimeZone) -> Error {
    let text = |moment: &Moment| {
        let clock = moment.clock.map(|clock| zone.to_datetime(clock));
        let clock = clock.map(|clock| clock.strftime("%Y-%m-%d %H:%M:%S").to_string());
        let offset = moment.offset.as_secs_f64();
        match clock {
            Some(clock) => format!("{clock} ({offset:.3} s)"),
            None => format!("{offset:.3} s"),
        }
    };
    match moments {
        [first, .., last] => anyhow::anyhow!(
            "the recording is of another time: it is from {} to {}",
            text(first),
            text(last)
        ),
        _ => anyhow::anyhow!("the recording is of another time"),
    }
}

/// The indices of two different moments.
///
/// # Errors
///
/// If the recording does not include these times, or none in between.
pub fn find_both(times: [When; 2], moments: &[Moment], zone: &TimeZone) -> Result<[usize; 2]> {
    let [a, b] = times.map(|time| time.find(moments, zone));
    let (a, b) = (a?, b?);
    ensure!(a <= b, "the second time is before the first");
    ensure!(
        a < b,
        "the recording has no two snapshots between these times, only one at {:.3} s",
        moments[a].offset.as_secs_f64()
    );
    Ok([a, b])
}
