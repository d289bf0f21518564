// SPDX-License-Identifier: GPL-2.0

//! Ctrl-C, and waiting for it.

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

/// From its making on, Ctrl-C does not end this process.
pub struct Interrupt(Receiver<()>);

impl Interrupt {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If the kernel does not let us.
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

    /// Waits for the time, and says whether Ctrl-C came before.
    pub fn before(&self, end: Instant) -> bool {
        let rest = end.saturating_duration_since(Instant::now());
        self.0.recv_timeout(rest) != Err(RecvTimeoutError::Timeout)
    }

    /// Waits for Ctrl-C.
    pub fn wait(&self) {
        // The sender goes only when we do.
        let _ = self.0.recv();
    }
}
