// SPDX-License-Identifier: GPL-2.0

//! Whether exits come at a stable rate.

use serde::Serialize;

/// A rate is stable if its standard deviation is at most this share of its mean.
pub const STABLE: f64 = 0.1;

/// The rates of several intervals, in exits per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Takes the rates of intervals; `None` if they are fewer than two.
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
