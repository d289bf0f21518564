// SPDX-License-Identifier: GPL-2.0

//! A bounded queue. It carries guests' queries to the work item that logs them, so that no
//! vCPU waits for the log.

// The type is made for statics, which only constants can initialize.
#![allow(clippy::declare_interior_mutable_const, clippy::new_without_default)]

use core::sync::atomic::{AtomicU64, Ordering::*};

/// The number of entries of a [`Queue`]: enough for the bursts of four guests at once.
const CAPACITY: u64 = 1024;
/// The number of words of an entry.
pub const WORDS: usize = 4;

/// An entry. If `turn` is even, the next to use it is its `turn / 2`th writer. If it is
/// odd, the next is the reader.
struct Entry {
    turn: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// A bounded queue for many writers and one reader. Nobody waits for anybody else.
pub struct Queue {
    entries: [Entry; CAPACITY as usize],
    written: AtomicU64,
    read: AtomicU64,
}

impl Queue {
    /// An empty queue.
    pub const fn new() -> Queue {
        const ZERO: AtomicU64 = AtomicU64::new(0);
        const EMPTY: Entry = Entry {
            turn: AtomicU64::new(0),
            words: [ZERO; WORDS],
        };
        Queue {
            entries: [EMPTY; CAPACITY as usize],
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
        }
    }

    fn entry(&self, position: u64) -> Option<(&Entry, u64)> {
        let entry = self.entries.get((position % CAPACITY) as usize)?;
        Some((entry, position / CAPACITY * 2))
    }

    /// Appends `words`. Returns false if the queue is full.
    pub fn push(&self, words: [u64; WORDS]) -> bool {
        let mut position = self.written.load(Relaxed);
        while let Some((entry, turn)) = self.entry(position) {
            if entry.turn.load(Acquire) == turn {
                match self.written.compare_exchange_weak(
                    position,
                    position.wrapping_add(1),
                    Relaxed,
                    Relaxed,
                ) {
                    Ok(_) => {
                        for (to, word) in entry.words.iter().zip(words) {
                            to.store(word, Relaxed);
                        }
                        entry.turn.store(turn.wrapping_add(1), Release);
                        return true;
                    }
                    Err(newer) => position = newer,
                }
            } else {
                let newer = self.written.load(Relaxed);
                if newer == position {
                    return false;
                }
                position = newer;
            }
        }
        false
    }

    /// Takes the oldest entry. Only one reader may call this at a time. If an entry is
    /// still being written, this returns `None` even if later entries are complete.
    pub fn pop(&self) -> Option<[u64; WORDS]> {
        let position = self.read.load(Relaxed);
        let (entry, turn) = self.entry(position)?;
        if entry.turn.load(Acquire) != turn.wrapping_add(1) {
            return None;
        }
        let [a, b, c, d] = &entry.words;
        let words = [a, b, c, d].map(|word| word.load(Relaxed));
        entry.turn.store(turn.wrapping_add(2), Release);
        self.read.store(position.wrapping_add(1), Relaxed);
        Some(words)
    }
}
