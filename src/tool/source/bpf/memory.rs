// SPDX-License-Identifier: GPL-2.0

//! The memory that the BPF program counts in, and this process reads: the types of
//! `exits.bpf.c`. The program writes them meanwhile, so all numbers are atomic.

use anyhow::{Context, Result};
use aya::maps::{Map, MapData};
use profile::{
    heavy::Entry,
    histogram::{BUCKETS, Histogram},
    isa::Isa,
};
use std::{
    fmt,
    os::fd::AsFd,
    ptr::{self, NonNull},
    slice,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// The number of slots for reasons.
pub const SLOTS: usize = 208;
const _: () = assert!(Isa::MAX_SLOTS <= SLOTS);
const _: () = assert!(size_of::<Vcpu>() == 40 + 24 * SLOTS + 40 * DETAILS);
const _: () = assert!(size_of::<Buckets>() == 256);

/// No thread has this number.
const NOBODY: u64 = u64::MAX;

/// The number of details that a vCPU's counters have room for.
pub const DETAILS: usize = 64;

/// The exits of a vCPU and reason.
#[repr(C)]
pub struct Tally {
    exits: AtomicU64,
    ns: AtomicU64,
    untimed: AtomicU64,
}

/// The exits of a vCPU and reason that have the same detail.
#[repr(C)]
pub struct Detail {
    key: AtomicU64,
    what: AtomicU64,
    exits: AtomicU64,
    ns: AtomicU64,
    error: AtomicU64,
}

/// The place of a vCPU, or rather of a thread that runs it.
#[repr(C)]
pub struct Vcpu {
    thread: AtomicU64,
    id: AtomicU32,
    ended: AtomicU32,
    since: AtomicU64,
    slot: AtomicU32,
    detail: AtomicU32,
    missed: AtomicU64,
    tallies: [Tally; SLOTS],
    details: [Detail; DETAILS],
}

/// The times of the exits of a reason on one CPU.
#[repr(C)]
pub struct Buckets {
    not_min: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

/// A type of shared memory: any bytes are a value of it, and all its fields are atomic.
///
/// # Safety
///
/// That must be true.
pub unsafe trait Shared {}
// SAFETY: It consists of atomic integers.
unsafe impl Shared for Vcpu {}
// SAFETY: It consists of atomic integers.
unsafe impl Shared for Buckets {}

impl Tally {
    /// The exits, their nanoseconds, and the number of exits that have no time.
    pub fn read(&self) -> profile::counts::Tally {
        profile::counts::Tally {
            exits: self.exits.load(Relaxed),
            cycles: self.ns.load(Relaxed),
            untimed: self.untimed.load(Relaxed),
        }
    }
}

impl Detail {
    /// The slot of the reason, and the exits with the same detail; `None` if there are none, or
    /// another detail takes the place meanwhile.
    pub fn read(&self) -> Option<(usize, Entry)> {
        let what = self.what.load(Acquire);
        let slot = usize::try_from(what.checked_sub(1)?).ok()?;
        let entry = Entry {
            key: self.key.load(Acquire),
            exits: self.exits.load(Acquire),
            cycles: self.ns.load(Acquire),
            error: self.error.load(Acquire),
        };
        let is_same = self.what.load(Relaxed) == what && self.key.load(Relaxed) == entry.key;
        is_same.then_some((slot, entry))
    }
}

impl Vcpu {
    /// The thread, with its process in the upper half; 0 if the place is free.
    pub fn thread(&self) -> u64 {
        self.thread.load(Relaxed)
    }

    /// The number of the vCPU in its VM.
    pub fn id(&self) -> u32 {
        self.id.load(Relaxed)
    }

    /// Whether the thread has ended: nobody adds to the counters any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Acquire) != 0
    }

    /// Ends it for a thread that is no more, if the program has not seen it end.
    pub fn end(&self) {
        let tally = self.tallies.get(self.slot.load(Relaxed) as usize);
        if let Some(tally) = tally.filter(|_| self.since.load(Relaxed) != 0) {
            tally.untimed.fetch_add(1, Relaxed);
        }
        self.ended.store(1, Release);
    }

    /// How often the thread entered the guest when no exit had been seen since the last entry.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }

    /// The counters by slot.
    pub fn tallies(&self) -> &[Tally; SLOTS] {
        &self.tallies
    }

    /// The details, and free places for some.
    pub fn details(&self) -> &[Detail; DETAILS] {
        &self.details
    }

    /// Lets another vCPU have the place of one that has ended.
    pub fn free(&self) {
        // A new thread with the same number must not take this for its place.
        self.thread.store(NOBODY, Release);
        for tally in &self.tallies {
            tally.exits.store(0, Relaxed);
            tally.ns.store(0, Relaxed);
            tally.untimed.store(0, Relaxed);
        }
        for detail in &self.details {
            detail.what.store(0, Relaxed);
            detail.exits.store(0, Relaxed);
            detail.error.store(0, Relaxed);
        }
        self.since.store(0, Relaxed);
        self.slot.store(0, Relaxed);
        self.missed.store(0, Relaxed);
        self.ended.store(0, Relaxed);
        // With it, the place can be taken.
        self.thread.store(0, Release);
    }
}

impl Buckets {
    /// The histogram.
    pub fn read(&self) -> Histogram {
        Histogram {
            min: !self.not_min.load(Relaxed),
            max: self.max.load(Relaxed),
            buckets: self.buckets.each_ref().map(|bucket| bucket.load(Relaxed)),
        }
    }
}

/// The values of an array that the kernel and this process share.
pub struct Mapped<T> {
    start: NonNull<T>,
    length: usize,
}

// SAFETY: It owns the mapping, and what is there is shared with the kernel anyway.
unsafe impl<T: Shared> Send for Mapped<T> {}
// SAFETY: All fields of the values are atomic.
unsafe impl<T: Shared> Sync for Mapped<T> {}

impl<T: Shared> Mapped<T> {
    /// Maps an array of `length` values.
    ///
    /// # Errors
    ///
    /// If it is another map, or there is no address space left.
    pub fn new(map: &Map, length: u32) -> Result<Mapped<T>> {
        let Map::Array(map) = map else {
            anyhow::bail!("it is no array");
        };
        Self::of(map, length as usize)
    }

    fn of(map: &MapData, length: usize) -> Result<Mapped<T>> {
        let bytes = length.checked_mul(size_of::<T>()).context("too long")?;
        // SAFETY: The kernel chooses free addresses.
        let start = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                bytes,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                map.fd().as_fd(),
                0,
            )
        };
        let start = start.context("cannot map its memory")?.cast();
        let start = NonNull::new(start).context("it is mapped at 0")?;
        Ok(Mapped { start, length })
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        // SAFETY: The mapping has so many, which are valid and atomic (`Shared`), and lasts as
        // long as `self`. The kernel refuses to map more than the array has.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let bytes = self.length * size_of::<T>();
        // SAFETY: It was mapped with this length, and no reference to it is left.
        let unmapped = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

impl<T> fmt::Debug for Mapped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({} values)", self.length)
    }
}

/// Memory for tests, in place of what is shared with the program, and what the program does to it.
#[cfg(test)]
pub mod tests {
    use super::*;

    /// Free places.
    pub fn places(count: usize) -> Vec<Vcpu> {
        // SAFETY: Zeroes are a value of it (`Shared`).
        (0..count).map(|_| unsafe { std::mem::zeroed() }).collect()
    }

    /// Buckets without exits.
    pub fn buckets(count: usize) -> Vec<Buckets> {
        // SAFETY: Zeroes are a value of it (`Shared`).
        (0..count).map(|_| unsafe { std::mem::zeroed() }).collect()
    }

    impl Vcpu {
        /// A thread's vCPU counts an exit.
        pub fn count(&self, thread: u64, id: u32, slot: usize, ns: u64) {
            self.thread.store(thread, Relaxed);
            self.id.store(id, Relaxed);
            self.tallies[slot].exits.fetch_add(1, Relaxed);
            self.tallies[slot].ns.fetch_add(ns, Relaxed);
        }

        /// The exit has a detail.
        pub fn note(&self, place: usize, slot: usize, key: u64, ns: u64) {
            let detail = &self.details[place];
            detail.key.store(key, Relaxed);
            detail.what.store(slot as u64 + 1, Relaxed);
            detail.exits.fetch_add(1, Relaxed);
            detail.ns.fetch_add(ns, Relaxed);
        }

        /// The thread enters the guest without an exit.
        pub fn miss(&self) {
            self.missed.fetch_add(1, Relaxed);
        }

        /// The thread is no more, and has not entered the guest again.
        pub fn vanish(&self, slot: u32) {
            self.slot.store(slot, Relaxed);
            self.since.store(1, Relaxed);
        }

        /// The program sees that.
        pub fn end_after(&self, slot: u32) {
            self.vanish(slot);
            self.end();
        }
    }

    impl Buckets {
        /// An exit of so many nanoseconds.
        pub fn count(&self, ns: u64) {
            let bucket = profile::histogram::bucket(ns);
            self.buckets[bucket].fetch_add(1, Relaxed);
            self.not_min.fetch_max(!ns, Relaxed);
            self.max.fetch_max(ns, Relaxed);
        }
    }
}
