// SPDX-License-Identifier: GPL-2.0

//! Limits on what guests use: lines of the host's log, and cache lines of counters.
//!
//! Times are in nanoseconds of any clock that is nearly monotonic.

// The types are made for statics, which only constants can initialize.
#![allow(clippy::declare_interior_mutable_const, clippy::new_without_default)]

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A token bucket. Its state is the time at which it will be full again.
#[derive(Debug)]
pub struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub const fn new() -> Bucket {
        Bucket {
            full_at: AtomicU64::new(0),
        }
    }

    /// Takes what refills in `cost_ns` from a bucket that refills in `size_ns`. Returns
    /// false, and takes nothing, if the bucket holds less.
    fn take(&self, now: u64, cost_ns: u64, size_ns: u64) -> bool {
        self.full_at
            .fetch_update(Relaxed, Relaxed, |full_at| {
                let next = full_at.max(now).saturating_add(cost_ns);
                (next.saturating_sub(now) <= size_ns).then_some(next)
            })
            .is_ok()
    }

    /// Takes what refills in `cost_ns`, even if the bucket holds less. Returns the
    /// nanoseconds until the debt is paid.
    fn borrow(&self, now: u64, cost_ns: u64, size_ns: u64) -> u64 {
        let next = |full_at: u64| full_at.max(now).saturating_add(cost_ns);
        let before = self
            .full_at
            .fetch_update(Relaxed, Relaxed, |full_at| Some(next(full_at)))
            .unwrap_or(0);
        next(before).saturating_sub(now).saturating_sub(size_ns)
    }
}

/// The number of log lines that a guest gets at once. It is enough for the exits and
/// cycles of all of VMX's reasons one and a half times, and for `exitprof sweep` on SVM,
/// which asks for the exits of all reasons and the cycles of those that occurred.
pub const BURST: u64 = 256;
/// The nanoseconds until a guest that has used its burst gets another line: [`BURST`]
/// lines a day.
pub const REFILL_NS: u64 = 24 * 3600 * 1_000_000_000 / BURST;
/// The number of guests that have a share at the same time.
pub const GUESTS: usize = 4;

/// A guest's share of the log.
struct Share {
    guest: AtomicU64,
    bucket: Bucket,
}

/// The log lines that guests get.
///
/// Each of up to [`GUESTS`] guests gets [`BURST`] lines, and one more every
/// [`REFILL_NS`], whatever the others do. A further guest takes over the fullest share
/// with what is left in it. So there are never more than `2 * GUESTS * BURST` lines within
/// a day.
pub struct LogBudget([Share; GUESTS]);

impl LogBudget {
    /// A budget with full shares.
    pub const fn new() -> LogBudget {
        const FULL: Share = Share {
            guest: AtomicU64::new(0),
            bucket: Bucket::new(),
        };
        LogBudget([FULL; GUESTS])
    }

    /// Takes a line for `guest`, which is not 0. Returns false if it gets none `now`.
    pub fn take(&self, guest: u64, now: u64) -> bool {
        let own = self.0.iter().find(|s| s.guest.load(Relaxed) == guest);
        let fullest = || self.0.iter().min_by_key(|s| s.bucket.full_at.load(Relaxed));
        own.or_else(fullest).map_or(false, |share| {
            share.guest.store(guest, Relaxed);
            share.bucket.take(now, REFILL_NS, BURST * REFILL_NS)
        })
    }
}

/// The number of counters' cache lines that a vCPU's queries may read in a millisecond.
pub const LINES_PER_MS: u64 = 1000;
/// Exact: what rounding loses would be given away with each query.
const NS_PER_LINE: u64 = 1_000_000 / LINES_PER_MS;

/// The counters of others that a vCPU may read.
///
/// Reading a counter takes its cache line away from the CPU that writes it, which costs
/// that CPU's next exit a few hundred cycles. So a vCPU that reads more than
/// [`LINES_PER_MS`] waits, and the others do not notice. Within any `t` milliseconds, its
/// queries read at most `t * LINES_PER_MS` lines, plus those of one millisecond or of one
/// query, whichever is more.
#[derive(Debug)]
pub struct QueryBudget(Bucket);

impl QueryBudget {
    /// An unused budget.
    pub const fn new() -> QueryBudget {
        QueryBudget(Bucket::new())
    }

    /// Takes `lines`. Returns the nanoseconds to wait before reading them.
    pub fn take(&self, lines: u64, now: u64) -> u64 {
        let cost_ns = lines.saturating_mul(NS_PER_LINE);
        self.0.borrow(now, cost_ns, 1_000_000)
    }
}
