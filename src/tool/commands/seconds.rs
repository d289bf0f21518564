// SPDX-License-Identifier: GPL-2.0

//! Times on the command line.

use std::{ops::RangeInclusive, time::Duration};

/// A time that it makes sense to wait.
pub fn seconds(text: &str) -> Result<Duration, String> {
    within(text, 0.001..=1e7)
}

/// A time between two readings of a screen.
pub fn delay(text: &str) -> Result<Duration, String> {
    within(text, 0.1..=3600.0)
}

fn within(text: &str, range: RangeInclusive<f64>) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if range.contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!(
            "it must be a number of seconds, from {} to {}",
            range.start(),
            range.end()
        )),
    }
}
