// SPDX-License-Identifier: GPL-2.0

//! The ends of intervals, and signals that come before.

use super::signals::Signals;
use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::time::{Duration, Instant};

const ENDS: [i32; 3] = [SIGHUP, SIGINT, SIGTERM];

/// Once this exists, Ctrl-C and the like no longer end the process at once, but the second
/// does.
pub struct Clock {
    signals: Signals,
    /// When the last interval was to end.
    last: Instant,
}

impl Clock {
    /// Starts the first interval.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub fn start() -> Result<Clock> {
        let signals = Signals::listen(&ENDS)?;
        signals.end_on_second(&ENDS)?;
        let last = Instant::now();
        Ok(Clock { signals, last })
    }

    /// Waits until the end of an interval, and says whether a signal came before. Ends that
    /// passed while the process was stopped are left out: the interval is longer then.
    ///
    /// # Errors
    ///
    /// If it cannot wait.
    pub fn is_interrupted_before(&mut self, interval: Duration) -> Result<bool> {
        self.is_interrupted(interval, None)
    }

    /// The same, of an interval that ends at `latest`, if not before.
    ///
    /// # Errors
    ///
    /// If it cannot wait.
    pub fn is_interrupted(&mut self, interval: Duration, latest: Option<Instant>) -> Result<bool> {
        let missed = self.last.elapsed().div_duration_f64(interval).floor();
        if missed >= 1.0 {
            self.last += interval.mul_f64(missed);
        }
        let end = self.last + interval;
        let end = latest.map_or(end, |latest| latest.min(end));
        if self.wait(Some(end))? {
            return Ok(true);
        }
        self.last = end;
        Ok(false)
    }

    /// Waits for a signal, and says whether one came before `end`.
    ///
    /// # Errors
    ///
    /// If it cannot wait.
    pub fn wait(&mut self, end: Option<Instant>) -> Result<bool> {
        loop {
            let (signals, _) = self.signals.wait(&[], end)?;
            if !signals.is_empty() {
                return Ok(true);
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                return Ok(false);
            }
        }
    }
}
