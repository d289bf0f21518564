// SPDX-License-Identifier: GPL-2.0

//! Waits for Ctrl-C.

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Instant,
};

/// Once this exists, Ctrl-C and SIGTERM no longer end the process.
pub struct Interrupt(Receiver<()>);

impl Interrupt {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub fn listen() -> Result<Interrupt> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("signals")?;
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for _ in signals.forever() {
                if sender.send(()).is_err() {
                    return;
                }
            }
        });
        Ok(Interrupt(receiver))
    }

    /// Waits until `end`, and says whether Ctrl-C came before.
    pub fn before(&self, end: Instant) -> bool {
        let rest = end.saturating_duration_since(Instant::now());
        self.0.recv_timeout(rest) != Err(RecvTimeoutError::Timeout)
    }

    /// Waits for Ctrl-C.
    pub fn wait(&self) {
        // The sender lives as long as this.
        let _ = self.0.recv();
    }
}
