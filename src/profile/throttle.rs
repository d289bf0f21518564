// SPDX-License-Identifier: GPL-2.0

//! What guests may have of the host's log, and of its CPUs' caches.
//!
//! Times are in nanoseconds of any clock that goes back no more than a little.

// Only constants can initialize statics, where the types are made for.
#![allow(clippy::declare_interior_mutable_const, clippy::new_without_default)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A bucket of tokens that refills as time goes on, kept as the time at which it is
/// full.
#[derive(Debug)]
pub struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// A full one.
    pub const fn new() -> Bucket {
        Bucket {
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes what refills in `cost_ns`, of a bucket that refills in `size_ns`; false
    /// if it has not that much.
    fn take(&self, now: u64, cost_ns: u64, size_ns: u64) -> bool {
        self.full_at
            .fetch_update(Relaxed, Relaxed, |full_at| {
                let next = full_at.max(now).saturating_add(cost_ns);
                (next.saturating_sub(now) <= size_ns).then_some(next)
            })
            .is_ok()
    }

    /// Takes what refills in `cost_ns`, whatever it has, and returns in how many
    /// nanoseconds it has given that without debt.
    fn borrow(&self, now: u64, cost_ns: u64, size_ns: u64) -> u64 {
        let next = |full_at: u64| full_at.max(now).saturating_add(cost_ns);
        let before = self
            .full_at
            .fetch_update(Relaxed, Relaxed, |full_at| Some(next(full_at)))
            .unwrap_or(0);
        next(before).saturating_sub(now).saturating_sub(size_ns)
    }
}

/// Lines that a guest may have logged at once: exits and cycles of all of VMX's
/// reasons, and more than half of that again; or what `exitprof sweep` asks on
/// SVM, which is all exits, and the cycles of reasons that occurred.
pub const BURST: u64 = 256;
/// Nanoseconds until a guest that has used its burst may have another line logged:
/// [`BURST`] lines a day.
pub const REFILL_NS: u64 = 24 * 3600 * 1_000_000_000 / BURST;
/// Guests with lines of their own.
pub const GUESTS: usize = 4;

/// A guest's share of the log.
struct Share {
    guest: AtomicU64,
    bucket: Bucket,
}

/// The lines that guests may have logged.
///
/// Each of up to [`GUESTS`] guests gets [`BURST`] lines and one more every
/// [`REFILL_NS`], whatever the others do. A further guest takes over the share
/// that has most left, with what is left: so there are never more than
/// `2 * GUESTS * BURST` lines within a day.
pub struct LogBudget([Share; GUESTS]);

impl LogBudget {
    /// Full shares.
    pub const fn new() -> LogBudget {
        const FULL: Share = Share {
            guest: AtomicU64::new(0),
            bucket: Bucket::new(),
        };
        LogBudget([FULL; GUESTS])
    }

    /// Whether `guest`, a number other than 0, may have a line logged `now`.
    pub fn take(&self, guest: u64, now: u64) -> bool {
        let own = self.0.iter().find(|s| s.guest.load(Relaxed) == guest);
        let fullest = || self.0.iter().min_by_key(|s| s.bucket.full_at.load(Relaxed));
        own.or_else(fullest).map_or(false, |share| {
            share.guest.store(guest, Relaxed);
            share.bucket.take(now, REFILL_NS, BURST * REFILL_NS)
        })
    }
}

/// Cache lines of counters that a vCPU's queries may read in a millisecond.
pub const LINES_PER_MS: u64 = 1000;
/// Exactly, for what is lost by rounding would be given away with each query.
const NS_PER_LINE: u64 = 1_000_000 / LINES_PER_MS;

/// What a vCPU may read of counters that others write.
///
/// To read a counter takes its cache line from the CPU that writes it, which costs that
/// CPU's next exit some hundred cycles. So a vCPU that reads more than
/// [`LINES_PER_MS`] has to wait, and the others do not notice it. Within any `t`
/// milliseconds, its queries read at most `t * LINES_PER_MS` lines and, beyond these,
/// those of one millisecond or of one query, whichever are more.
#[derive(Debug)]
pub struct QueryBudget(Bucket);

impl QueryBudget {
    /// One of which nothing was used.
    pub const fn new() -> QueryBudget {
        QueryBudget(Bucket::new())
    }

    /// Takes `lines`; returns how many nanoseconds to wait before they are read.
    pub fn take(&self, lines: u64, now: u64) -> u64 {
        let cost_ns = lines.saturating_mul(NS_PER_LINE);
        self.0.borrow(now, cost_ns, 1_000_000)
    }
}
