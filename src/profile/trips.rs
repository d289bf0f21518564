// SPDX-License-Identifier: GPL-2.0

//! Exits to userspace: how often, for how long, and why.

use core::{
    ops::Add,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// The number of KVM_EXIT_* that are told apart: the last one stands for all others, too.
/// See `struct kvm_run` in `uapi/linux/kvm.h`.
pub const USERSPACE_EXITS: usize = 48;

/// Exits to userspace, and the time there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trips {
    /// How often KVM_RUN returned, and began again.
    pub trips: u64,
    /// The cycles of the host's TSC in between.
    pub cycles: u64,
}

impl Add for Trips {
    type Output = Trips;

    fn add(self, other: Trips) -> Trips {
        Trips {
            trips: self.trips.wrapping_add(other.trips),
            cycles: self.cycles.wrapping_add(other.cycles),
        }
    }
}

/// The rows of a [`TripTable`]. A VMM and its guest cause about twenty.
pub const ROWS: usize = 64;

/// What led to userspace: the slot of a VM exit, and an index of [`USERSPACE_EXITS`].
/// [`REST`] stands for all that have no row of their own.
pub type Way = (usize, usize);

/// See [`Way`].
pub const REST: Way = (u32::MAX as usize, USERSPACE_EXITS - 1);

/// Trips by the way that led there. One task writes it.
///
/// It is valid if all bytes are zero, and then empty.
#[derive(Debug)]
pub struct TripTable([Row; ROWS]);

#[derive(Debug)]
struct Row {
    /// The way, with bit 8 set; 0 if the row is free.
    key: AtomicU64,
    trips: AtomicU64,
    cycles: AtomicU64,
}

impl Row {
    #[allow(clippy::declare_interior_mutable_const)] // Each use is a row of its own.
    const FREE: Row = Row {
        key: AtomicU64::new(0),
        trips: AtomicU64::new(0),
        cycles: AtomicU64::new(0),
    };

    fn load(&self) -> Trips {
        Trips {
            trips: self.trips.load(Relaxed),
            cycles: self.cycles.load(Relaxed),
        }
    }

    fn store(&self, key: u64, trips: Trips) {
        self.trips.store(trips.trips, Relaxed);
        self.cycles.store(trips.cycles, Relaxed);
        self.key.store(key, Relaxed);
    }
}

fn key_of((slot, exit): Way) -> u64 {
    (slot as u64) << 16 | 1 << 8 | exit as u64
}

fn way_of(key: u64) -> Way {
    ((key >> 16) as usize, (key & 0xff) as usize)
}

impl TripTable {
    /// No trips.
    #[allow(clippy::declare_interior_mutable_const)] // Each use is a table of its own.
    pub const EMPTY: TripTable = TripTable([Row::FREE; ROWS]);

    /// Adds trips after a VM exit of `slot`, with a `KVM_EXIT_*`, which may be any number.
    pub fn add(&self, slot: usize, exit: u16, more: Trips) {
        self.add_way((slot, usize::from(exit).min(USERSPACE_EXITS - 1)), more);
    }

    fn add_way(&self, way: Way, more: Trips) {
        let key = key_of(way);
        let own = self
            .own_rows()
            .find(|row| matches!(row.key.load(Relaxed), other if other == key || other == 0));
        match own {
            Some(row) => row.store(key, row.load() + more),
            // The last row is that of the rest.
            None => {
                if let Some(row) = self.0.last() {
                    row.store(key_of(REST), row.load() + more);
                }
            }
        }
    }

    fn own_rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().take(ROWS - 1)
    }

    /// Adds all trips of another table.
    pub fn add_all(&self, other: &TripTable) {
        other.rows().for_each(|(way, trips)| match way {
            REST => {
                if let Some(row) = self.0.last() {
                    row.store(key_of(REST), row.load() + trips);
                }
            }
            _ => self.add_way(way, trips),
        });
    }

    /// The trips by way.
    pub fn rows(&self) -> impl Iterator<Item = (Way, Trips)> + '_ {
        let taken = self.0.iter().filter_map(|row| match row.key.load(Relaxed) {
            0 => None,
            key => Some((way_of(key), row.load())),
        });
        taken.filter(|(_, trips)| trips.trips > 0)
    }

    /// Becomes the same as another table.
    pub fn copy_from(&self, other: &TripTable) {
        for (to, from) in self.0.iter().zip(&other.0) {
            to.store(from.key.load(Relaxed), from.load());
        }
    }

    /// Forgets all trips.
    pub fn clear(&self) {
        self.0.iter().for_each(|row| row.store(0, Trips::default()));
    }
}

/// The name of a `KVM_EXIT_*` that x86 has, without the prefix; `None` for others.
pub fn userspace_exit_name(exit: usize) -> Option<&'static str> {
    Some(match exit {
        0 => "UNKNOWN",
        1 => "EXCEPTION",
        2 => "IO",
        3 => "HYPERCALL",
        4 => "DEBUG",
        5 => "HLT",
        6 => "MMIO",
        7 => "IRQ_WINDOW_OPEN",
        8 => "SHUTDOWN",
        9 => "FAIL_ENTRY",
        10 => "INTR",
        11 => "SET_TPR",
        12 => "TPR_ACCESS",
        16 => "NMI",
        17 => "INTERNAL_ERROR",
        24 => "SYSTEM_EVENT",
        26 => "IOAPIC_EOI",
        27 => "HYPERV",
        29 => "X86_RDMSR",
        30 => "X86_WRMSR",
        31 => "DIRTY_RING_FULL",
        32 => "AP_RESET_HOLD",
        33 => "X86_BUS_LOCK",
        34 => "XEN",
        37 => "NOTIFY",
        39 => "MEMORY_FAULT",
        40 => "TDX",
        43 => "SNP_REQ_CERTS",
        _ => return None,
    })
}
