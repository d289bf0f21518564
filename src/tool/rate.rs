// SPDX-License-Identifier: GPL-2.0

//! Whether exits come at a stable rate.

use schemars::JsonSchema;
use serde::Serialize;

/// A rate is stable if its standard deviation is at most this share of its mean.
pub const STABLE: f64 = 0.1;

/// The mean and the standard deviation of a figure in several runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, 0 if there is one run only.
    pub deviation: f64,
}

impl Spread {
    /// That of these figures.
    pub fn of(figures: &[f64]) -> Spread {
        let number = figures.len() as f64;
        if figures.is_empty() {
            return Spread::default();
        }
        let mean = figures.iter().sum::<f64>() / number;
        let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
        let deviation = (squares / (number - 1.0).max(1.0)).sqrt();
        Spread { mean, deviation }
    }

    /// The deviation as a share of the mean, if that is not 0.
    pub fn share(self) -> Option<f64> {
        (self.mean > 0.0).then_some(self.deviation / self.mean)
    }
}

/// The rates of several intervals, in exits per second.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Stability {
    /// The number of intervals.
    pub intervals: usize,
    /// The mean rate.
    pub mean: f64,
    /// The lowest rate.
    pub min: f64,
    /// The highest rate.
    pub max: f64,
    /// The standard deviation of the rates.
    pub deviation: f64,
    /// Whether the deviation is at most [`STABLE`] of the mean.
    pub stable: bool,
}

impl Stability {
    /// Takes the rate and the seconds of each interval; `None` if they are fewer than two. The
    /// longer an interval, the more it counts.
    pub fn new(rates: &[(f64, f64)]) -> Option<Stability> {
        if rates.len() < 2 {
            return None;
        }
        let number = rates.len() as f64;
        let weighted = |of: &dyn Fn(f64) -> f64| -> f64 {
            let time: f64 = rates.iter().map(|(_, seconds)| seconds).sum();
            let parts = rates.iter().map(|&(rate, seconds)| of(rate) * seconds);
            parts.sum::<f64>() / time
        };
        let mean = weighted(&|rate| rate);
        let squares = weighted(&|rate| (rate - mean).powi(2));
        let deviation = (squares * number / (number - 1.0)).sqrt();
        let rates = || rates.iter().map(|&(rate, _)| rate);
        Some(Stability {
            intervals: rates().count(),
            mean,
            min: rates().fold(f64::INFINITY, f64::min),
            max: rates().fold(0.0, f64::max),
            deviation,
            stable: deviation <= STABLE * mean,
        })
    }
}
