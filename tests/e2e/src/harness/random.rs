// SPDX-License-Identifier: GPL-2.0
//! Random queries, the same again for the same seed.

use crate::oracle::leaf::{
    CYCLES, DISCOVERY, EXITS, HIDDEN, IDENTITY, PROTOCOL, SNAPSHOT, TOTAL_CYCLES, TOTAL_EXITS,
    UNTIMED, of_snapshot,
};

/// A leaf and its parameter: EAX and ECX.
pub type Query = (u32, u32);

/// Whether the leaf is one that the profiler answers.
pub fn is_ours((eax, _): Query) -> bool {
    (0x4fff_ff00..=0x4fff_ffff).contains(&eax)
}

/// Leaves that mean something, those with a parameter more than once.
const ASSIGNED: [u32; 24] = [
    DISCOVERY,
    PROTOCOL,
    HIDDEN,
    IDENTITY,
    UNTIMED,
    UNTIMED,
    SNAPSHOT,
    of_snapshot(HIDDEN),
    of_snapshot(IDENTITY),
    of_snapshot(UNTIMED),
    of_snapshot(TOTAL_EXITS),
    of_snapshot(TOTAL_CYCLES),
    of_snapshot(EXITS),
    of_snapshot(EXITS),
    of_snapshot(CYCLES),
    of_snapshot(CYCLES),
    TOTAL_EXITS,
    TOTAL_CYCLES,
    EXITS,
    EXITS,
    EXITS,
    CYCLES,
    CYCLES,
    CYCLES,
];
/// Leaves just outside the block, or where another one begins.
const EDGES: [u32; 6] = [
    0x4fff_fe00,
    0x4fff_feff,
    0x5000_0000,
    0x5fff_ffff,
    0xc000_0000,
    u32::MAX,
];
/// Where the leaves begin that a CPU or KVM defines.
const CLASSES: [u32; 3] = [0, 0x4000_0000, 0x8000_0000];
/// Numbers near which exit reasons begin or end, with VMX or with SVM.
const REASONS: [u32; 7] = [
    0x3c,
    0x4c,
    0x9c,
    0x3fc,
    0xdea8,
    0x7fff_fffc,
    0xf000_0000 - 4,
];

/// xorshift64*: not zero, and not to be predicted by those whom it tests.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Seeds that differ in a bit shall not begin alike.
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(n)) >> 32) as u32
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    /// Any query, most often one that is near to something.
    pub fn query(&mut self) -> Query {
        let eax = match self.below(16) {
            0..7 => self.pick(&ASSIGNED),
            7..10 => DISCOVERY + self.below(0x100),
            10..12 => self.pick(&ASSIGNED) ^ 1 << self.below(32),
            12 => self.pick(&EDGES),
            13 | 14 => self.pick(&CLASSES) + self.below(0x24),
            _ => self.word(),
        };
        let ecx = match self.below(8) {
            // What it can do with a snapshot, and one more.
            0..4 if eax == SNAPSHOT => self.below(4),
            0..4 => self.below(0xb0),
            4 => self.pick(&REASONS) + self.below(12),
            5 => self.below(0xb0) | 1 << self.below(32),
            6 => !self.below(4),
            _ => self.word(),
        };
        (eax, ecx)
    }
}
