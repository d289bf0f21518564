// SPDX-License-Identifier: GPL-2.0

//! Arguments that are a number of seconds.

use std::{ops::RangeInclusive, time::Duration};

/// Parses how long to wait.
pub fn seconds(text: &str) -> Result<Duration, String> {
    within(text, 0.001..=1e7)
}

/// Parses how often `top` reads.
pub fn delay(text: &str) -> Result<Duration, String> {
    within(text, 0.1..=3600.0)
}

fn within(text: &str, range: RangeInclusive<f64>) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if range.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "not a number of seconds from {} to {}",
            range.start(),
            range.end()
        )),
    }
}
