// SPDX-License-Identifier: GPL-2.0

//! What keeps guests from flooding the host's log, or from waiting for it.
//!
//! A guest may query leaves as fast as it can. A query takes a line from its
//! guest's [`Budget`] and puts it into a [`Queue`], never waiting for either;
//! somebody else prints it later. Times are in nanoseconds of any clock that
//! goes back no more than a little.

// Only constants can initialize statics, where both types are made for.
#![allow(clippy::declare_interior_mutable_const, clippy::new_without_default)]

use core::sync::atomic::{AtomicU64, Ordering::*};

/// Lines that a guest may have logged at once: exits and cycles of all of VMX's
/// reasons, and more than half of that again; or what `exitprof sweep` asks on
/// SVM, which is all exits, and the cycles of reasons that occurred.
pub const BURST: u64 = 256;
/// Nanoseconds until a guest that has used its burst may log another line.
pub const REFILL_NS: u64 = 125_000_000;
/// Guests with a budget of their own.
pub const GUESTS: usize = 16;

/// A guest's share: a bucket of tokens, kept as the time at which it is full.
struct Bucket {
    guest: AtomicU64,
    full_at: AtomicU64,
}

impl Bucket {
    fn take(&self, now: u64) -> bool {
        self.full_at
            .fetch_update(Relaxed, Relaxed, |full_at| {
                let next = full_at.max(now).wrapping_add(REFILL_NS);
                (next.wrapping_sub(now) <= BURST * REFILL_NS).then_some(next)
            })
            .is_ok()
    }
}

/// The lines that guests may have logged.
///
/// Each of up to [`GUESTS`] guests gets [`BURST`] lines and one more every
/// [`REFILL_NS`], whatever the others do. A further guest takes over the bucket
/// that has most left, with what is left: so there are never more lines than
/// `GUESTS` full buckets hold.
pub struct Budget([Bucket; GUESTS]);

impl Budget {
    /// Full buckets.
    pub const fn new() -> Budget {
        const FULL: Bucket = Bucket {
            guest: AtomicU64::new(0),
            full_at: AtomicU64::new(0),
        };
        Budget([FULL; GUESTS])
    }

    /// Whether `guest`, a number other than 0, may have a line logged `now`.
    pub fn take(&self, guest: u64, now: u64) -> bool {
        let own = self.0.iter().find(|b| b.guest.load(Relaxed) == guest);
        let fullest = || self.0.iter().min_by_key(|b| b.full_at.load(Relaxed));
        own.or_else(fullest).map_or(false, |bucket| {
            bucket.guest.store(guest, Relaxed);
            bucket.take(now)
        })
    }
}

/// Entries that a [`Queue`] holds: the bursts of four guests at the same time.
const CAPACITY: u64 = 1024;
/// Words of an entry.
pub const WORDS: usize = 4;

/// An entry, and whose turn it is to use it: that of the `turn / 2`th writer
/// where even, else its reader's.
struct Entry {
    turn: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// A bounded queue of entries of [`WORDS`] words, for many writers and one reader, none of
/// which waits for another.
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

    /// Appends `words`; false if the queue is full.
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

    /// Takes the oldest entry; for one reader at a time. An entry that is still
    /// being written hides those after it.
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
