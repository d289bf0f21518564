// SPDX-License-Identifier: GPL-2.0

//! Whether what is counted now is normal: within what the intervals of a baseline show.
//!
//! Each interval has a value of each figure. The baseline's figure is the median of its values,
//! and that of now of those of now: a few values that are out of line change neither. The values
//! of the baseline spread by their median absolute deviation, which [`SIGMA`] makes the standard
//! deviation of a normal distribution. Exits spread at least as if they came independently of
//! each other: N of them by √N. The noise is by how much two medians differ that are of the same
//! distribution: the standard error of their difference. Intervals that follow each other have
//! much in common, so they count as fewer: as many as the baseline's correlation with itself, one
//! interval later, leaves.
//!
//! A figure is normal up to the baseline's and an allowance: so many times the noise, or such a
//! share of the baseline's figure, whichever is more.
//!
//! Where both medians are below [`FEW`] exits, they say little. There, all exits of the baseline
//! are compared with all of now's. They spread as if they were independent, or by as much more as
//! the baseline's intervals do.

pub mod course;

use crate::select::Key;
use course::{Counted, Course};
use std::collections::BTreeSet;

/// What makes a median absolute deviation a standard deviation.
const SIGMA: f64 = 1.4826;
/// The standard error of a median, as a multiple of that of a mean: √(π/2).
const MEDIAN: f64 = 1.2533;
/// An interval with fewer exits has no figures but their number.
const FEW: f64 = 10.0;
/// An interval with fewer timed exits has no 99th percentile that means something.
const FEW_FOR_P99: f64 = 100.0;

/// The name of the sum of all rows.
const TOTAL: &str = "all";

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    /// So many times the noise.
    pub noise: f64,
    /// So many percent of the baseline's figure.
    pub percent: f64,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is higher than is normal.
    Above,
    /// It is normal.
    Normal,
    /// It is lower than is normal.
    Below,
}

impl Verdict {
    /// What programs call it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Above => "above",
            Verdict::Normal => "normal",
            Verdict::Below => "below",
        }
    }
}

/// A figure, in the baseline and now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The baseline's.
    pub baseline: f64,
    /// Its noise.
    pub noise: f64,
    /// How far from it is normal.
    pub allowed: f64,
    /// That of now.
    pub now: f64,
}

impl Figure {
    fn new(baseline: f64, noise: f64, now: f64, allowance: Allowance) -> Figure {
        let share = baseline * allowance.percent / 100.0;
        Figure {
            baseline,
            noise,
            allowed: share.max(noise * allowance.noise),
            now,
        }
    }

    /// The highest value that is normal.
    pub fn limit(self) -> f64 {
        self.baseline + self.allowed
    }

    /// What became of it.
    pub fn verdict(self) -> Verdict {
        match self.now - self.baseline {
            more if more > self.allowed => Verdict::Above,
            more if more < -self.allowed => Verdict::Below,
            _ => Verdict::Normal,
        }
    }
}

/// A row's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What the row counts; `None` if it is the sum of all rows.
    pub key: Option<Key>,
    /// Exits per second.
    pub rate: Figure,
    /// The time of handlers per second, if there are enough exits.
    pub time: Option<Figure>,
    /// The time that 99% of exits do not exceed, if there are enough of them.
    pub p99: Option<Figure>,
}

impl Checked {
    /// What it counts.
    pub fn name(&self) -> &str {
        self.key.as_ref().map_or(TOTAL, |key| &key.name)
    }

    /// The figures, and what people call them.
    pub fn figures(&self) -> impl Iterator<Item = (&'static str, Figure)> {
        let all = [
            ("exits/s", Some(self.rate)),
            ("time/s", self.time),
            ("p99", self.p99),
        ];
        all.into_iter()
            .filter_map(|(name, figure)| Some((name, figure?)))
    }

    /// Whether a figure is higher than is normal, or, if that is asked for, lower.
    pub fn is_beyond(&self, below: bool) -> bool {
        self.figures().any(|(_, figure)| match figure.verdict() {
            Verdict::Above => true,
            Verdict::Below => below,
            Verdict::Normal => false,
        })
    }
}

/// Compares what is counted now with a baseline; each has at least one interval. `scales` make
/// their cycles times. The sum of all rows comes first, and then those with the most exits.
pub fn check(courses: [&Course; 2], scales: [f64; 2], allowance: Allowance) -> Vec<Checked> {
    let keys = courses[0].keys().into_iter().chain(courses[1].keys());
    let keys: BTreeSet<&Key> = keys.collect();
    let row = |key| row(key, courses, scales, allowance);
    let mut rows: Vec<Checked> = keys.into_iter().map(|key| row(Some(key))).collect();
    let rate = |row: &Checked| row.rate.now.max(row.rate.baseline);
    rows.sort_by(|a, b| rate(b).total_cmp(&rate(a)));
    rows.insert(0, row(None));
    rows
}

fn row(
    key: Option<&Key>,
    courses: [&Course; 2],
    scales: [f64; 2],
    allowance: Allowance,
) -> Checked {
    let sides = courses.map(|course| course.of(key));
    let values = |of: &dyn Fn(&Counted, f64, f64) -> Option<f64>| -> [Vec<f64>; 2] {
        [0, 1].map(|side| {
            let of = |(counted, seconds): &(Counted, f64)| of(counted, *seconds, scales[side]);
            sides[side].iter().filter_map(of).collect()
        })
    };
    let figure = |values: [Vec<f64>; 2], least: f64| {
        let [baseline, now] = values;
        let noise = noise(&baseline, least, now.len());
        Figure::new(median(baseline), noise, median(now), allowance)
    };
    let medians = |values: &[Vec<f64>; 2]| values.each_ref().map(|all| median(all.clone()));

    let rates = values(&|counted, seconds, _| Some(counted.exits as f64 / seconds));
    let [before, now] = medians(&rates);
    let length = median(sides[0].iter().map(|(_, seconds)| *seconds).collect());
    let rate = match before.max(now) * length < FEW {
        true => few(&sides, allowance),
        false => figure(rates, (before * length).max(1.0).sqrt() / length),
    };
    let timed = medians(&values(&|counted, _, _| Some(counted.timed as f64)));
    let has = |exits: f64| timed.into_iter().all(|timed| timed >= exits);
    let times = values(&|c, seconds, scale| Some(c.cycles as f64 * scale / seconds));
    let p99s = values(&|counted, _, scale| Some(counted.p99? as f64 * scale));
    let is_known = p99s.iter().all(|values| !values.is_empty());
    Checked {
        key: key.cloned(),
        rate,
        time: has(FEW).then(|| figure(times, 0.0)),
        p99: (has(FEW_FOR_P99) && is_known).then(|| figure(p99s, 0.0)),
    }
}

/// The standard error of the difference of two medians: that of `values`, which spread by `least`
/// or more, and that of so many more such values.
fn noise(values: &[f64], least: f64, more: usize) -> f64 {
    let middle = median(values.to_vec());
    let spread = SIGMA * median(values.iter().map(|value| (value - middle).abs()).collect());
    let spread = spread.max(least);
    // What is out of line says nothing of the others.
    let bound = 3.0 * spread;
    let deviations: Vec<f64> = (values.iter())
        .map(|value| (value - middle).clamp(-bound, bound))
        .collect();
    let squares: f64 = deviations.iter().map(|deviation| deviation.powi(2)).sum();
    let products: f64 = deviations.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let correlation = if squares > 0.0 {
        (products / squares).clamp(0.0, 1.0)
    } else {
        0.0
    };
    let independent = |number: usize| {
        let number = number as f64 * (1.0 - correlation) / (1.0 + correlation);
        number.max(1.0)
    };
    let parts = 1.0 / independent(values.len()) + 1.0 / independent(more);
    MEDIAN * spread * parts.sqrt()
}

/// The rate of a row with few exits in each interval.
fn few(sides: &[Vec<(Counted, f64)>; 2], allowance: Allowance) -> Figure {
    let sums = sides.each_ref().map(|side| {
        let exits: u128 = side.iter().map(|(counted, _)| counted.exits).sum();
        let seconds: f64 = side.iter().map(|(_, seconds)| seconds).sum();
        (exits as f64, seconds)
    });
    let [(exits, seconds), (now, now_seconds)] = sums;
    let mean = exits / sides[0].len() as f64;
    let squares = sides[0]
        .iter()
        .map(|(c, _)| (c.exits as f64 - mean).powi(2));
    let variance = squares.sum::<f64>() / (sides[0].len() as f64 - 1.0).max(1.0);
    let dispersion = if mean > 0.0 {
        (variance / mean).max(1.0)
    } else {
        1.0
    };
    let part = now_seconds / seconds;
    // One more than was seen, for the next one may have been about to come.
    let expected = (exits + 1.0) * part;
    // The baseline's own number is as uncertain as that of now.
    let deviation = (dispersion * expected * (1.0 + part)).sqrt().max(1.0);
    Figure::new(
        exits / seconds,
        deviation / now_seconds,
        now / now_seconds,
        allowance,
    )
}

/// The median; 0 without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n.is_multiple_of(2) => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}
