// SPDX-License-Identifier: GPL-2.0

//! Reads counters at the ends of intervals, though the module may be gone for a while.

use super::tell::tell;
use crate::{render::words, snapshot::Snapshot, source::Source};
use std::mem;

/// A source, and what was said of it.
#[derive(Debug)]
pub struct Patient {
    source: Source,
    is_lost: bool,
    is_off: bool,
}

impl Patient {
    /// Goes on after `first`, of which the user knows.
    pub fn new(source: Source, first: &Snapshot) -> Patient {
        Patient {
            source,
            is_lost: false,
            is_off: words::is_off(first),
        }
    }

    /// Reads the counters, and says so if nothing is being counted any more. If they cannot be
    /// read now, says so once: the module may be loaded again.
    pub fn read(&mut self) -> Option<Snapshot> {
        match self.source.read() {
            Ok(now) => {
                self.is_lost = false;
                let was_off = mem::replace(&mut self.is_off, words::is_off(&now));
                if self.is_off && !was_off {
                    tell(words::RECORDING_IS_OFF);
                }
                Some(now)
            }
            Err(e) => {
                if !self.is_lost {
                    tell(format_args!("{e:#}: waiting for it to come back"));
                }
                self.is_lost = true;
                None
            }
        }
    }
}
