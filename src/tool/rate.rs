// SPDX-License-Identifier: GPL-2.0

//! Whether exits come at a stable rate.

use serde::Serialize;

/// A rate is stable if its standard deviation is at most this part of its mean.
pub const STABLE: f64 = 0.1;

/// The exits per second of intervals, taken together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stability {
    /// The number of intervals.
    pub intervals: usize,
    /// Their mean, in exits per second.
    pub mean: f64,
    /// The least of an interval.
    pub min: f64,
    /// The most of an interval.
    pub max: f64,
    /// The standard deviation of the intervals.
    pub deviation: f64,
    /// Whether it is at most [`STABLE`] of the mean.
    pub stable: bool,
}

impl Stability {
    /// What `rates` make; `None` if they are fewer than two.
    pub fn new(rates: &[f64]) -> Option<Stability> {
        if rates.len() < 2 {
            return None;
        }
        let number = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / number;
        let squares: f64 = rates.iter().map(|rate| (rate - mean).powi(2)).sum();
        let deviation = (squares / (number - 1.0)).sqrt();
        Some(Stability {
            intervals: rates.len(),
            mean,
            min: rates.iter().copied().fold(f64::INFINITY, f64::min),
            max: rates.iter().copied().fold(0.0, f64::max),
            deviation,
            stable: deviation <= STABLE * mean,
        })
    }
}
