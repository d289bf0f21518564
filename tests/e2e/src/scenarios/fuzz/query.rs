// SPDX-License-Identifier: GPL-2.0
//! Random queries.

use crate::harness::Random;
use crate::oracle::leaf::{
    CYCLES, DISCOVERY, EXITS, HIDDEN, IDENTITY, PHASE, PROTOCOL, SNAPSHOT, TOTAL_CYCLES,
    TOTAL_EXITS, UNTIMED, of_snapshot,
};
use crate::vmm::Query;

/// Whether the profiler answers the leaf.
pub fn is_ours((eax, _): Query) -> bool {
    (0x4fff_ff00..=0x4fff_ffff).contains(&eax)
}

/// Whether the query leaves a line in the host's log.
pub fn is_logged((eax, _): Query) -> bool {
    (0x4fff_fffc..=0x4fff_ffff).contains(&eax)
}

/// Assigned leaves. Those with a subleaf are here more than once.
const ASSIGNED: [u32; 26] = [
    DISCOVERY,
    PROTOCOL,
    HIDDEN,
    IDENTITY,
    UNTIMED,
    UNTIMED,
    PHASE,
    SNAPSHOT,
    of_snapshot(PHASE),
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
/// Leaves just outside the profiler's block, or at the start of another.
const EDGES: [u32; 6] = [
    0x4fff_fe00,
    0x4fff_feff,
    0x5000_0000,
    0x5fff_ffff,
    0xc000_0000,
    u32::MAX,
];
/// First leaves of a CPU and of KVM.
const CLASSES: [u32; 3] = [0, 0x4000_0000, 0x8000_0000];
/// Numbers near which exit reasons of VMX or SVM begin or end.
const REASONS: [u32; 7] = [
    0x3c,
    0x4c,
    0x9c,
    0x3fc,
    0xdea8,
    0x7fff_fffc,
    0xf000_0000 - 4,
];

/// Any query, but most often one near something.
pub fn random_query(random: &mut Random) -> Query {
    let eax = match random.below(16) {
        0..7 => random.pick(&ASSIGNED),
        7..10 => DISCOVERY + random.below(0x100),
        10..12 => random.pick(&ASSIGNED) ^ 1 << random.below(32),
        12 => random.pick(&EDGES),
        13 | 14 => random.pick(&CLASSES) + random.below(0x24),
        _ => random.word(),
    };
    let ecx = match random.below(8) {
        // The snapshot's commands, and one that does not exist.
        0..4 if eax == SNAPSHOT => random.below(4),
        0..4 => random.below(0xb0),
        4 => random.pick(&REASONS) + random.below(12),
        5 => random.below(0xb0) | 1 << random.below(32),
        6 => !random.below(4),
        _ => random.word(),
    };
    (eax, ecx)
}
