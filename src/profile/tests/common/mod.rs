// SPDX-License-Identifier: GPL-2.0

//! What tests of the model share: its rules, and a vCPU to ask.

#![allow(dead_code)] // No test needs all of it.

use profile::{
    counts::{Profile, Tally},
    isa::Isa,
    leaf::{Command, Identity, Protocol, Registers, SnapshotState},
    phases::{Spent, Totals, PHASES},
    query::{Query, Responder, When},
    reason::{Kernel, Status},
};
use proptest::prelude::*;
use std::ops::RangeInclusive;

/// What the manuals define and what KVM handles: written down here once more,
/// for the tables must not be their own judges.
pub struct Rules {
    pub isa: Isa,
    pub handled: &'static [RangeInclusive<u32>],
    /// Handled since Linux 7.3.
    pub newer: &'static [RangeInclusive<u32>],
    pub unhandled: &'static [RangeInclusive<u32>],
    pub undefined: &'static [RangeInclusive<u32>],
}

pub const VMX: Rules = Rules {
    isa: Isa::Vmx,
    handled: &[
        0..=2,
        7..=10,
        12..=15,
        18..=32,
        36..=37,
        39..=41,
        43..=50,
        52..=62,
        74..=75,
    ],
    newer: &[76..=77, 84..=85],
    unhandled: &[
        3..=6,
        11..=11,
        16..=17,
        33..=34,
        51..=51,
        63..=70,
        72..=73,
        78..=81,
    ],
    undefined: &[
        35..=35,
        38..=38,
        42..=42,
        71..=71,
        82..=83,
        86..=1000,
        0xdead..=0xdead,
        0x1_000a..=0x1_000a,
        0x8000_0021..=0x8000_0021,
        u32::MAX..=u32::MAX,
    ],
};

pub const SVM: Rules = Rules {
    isa: Isa::Svm,
    handled: &[
        0x00..=0x00,
        0x03..=0x04,
        0x08..=0x08,
        0x10..=0x10,
        0x13..=0x14,
        0x18..=0x18,
        0x20..=0x27,
        0x30..=0x37,
        0x41..=0x41,
        0x43..=0x43,
        0x46..=0x46,
        0x4d..=0x4e,
        0x51..=0x52,
        0x60..=0x62,
        0x64..=0x65,
        0x6f..=0x6f,
        0x72..=0x74,
        0x76..=0x7d,
        0x7f..=0x87,
        0x89..=0x8b,
        0x8d..=0x90,
        0x94..=0x94,
        0x98..=0x98,
        0xa2..=0xa2,
        0x400..=0x403,
    ],
    newer: &[0x88..=0x88, 0xa5..=0xa6],
    unhandled: &[
        0x02..=0x02,
        0x12..=0x12,
        0x40..=0x40,
        0x42..=0x42,
        0x44..=0x45,
        0x47..=0x4c,
        0x4f..=0x50,
        0x53..=0x5f,
        0x63..=0x63,
        0x66..=0x6e,
        0x70..=0x71,
        0x75..=0x75,
        0x7e..=0x7e,
        0x8c..=0x8c,
        0x91..=0x93,
        0x95..=0x97,
        0x99..=0x9f,
        0x8000_0001..=0x8000_0005,
        0x8000_0010..=0x8000_0013,
        0x8000_0018..=0x8000_0018,
        0x8000_001a..=0x8000_001a,
        0x8000_fffd..=0x8000_ffff,
        0xf000_0000..=0xf000_0000,
        u32::MAX..=u32::MAX,
    ],
    undefined: &[
        0x01..=0x01,
        0x05..=0x07,
        0x09..=0x0f,
        0x11..=0x11,
        0x15..=0x17,
        0x19..=0x1f,
        0x28..=0x2f,
        0x38..=0x3f,
        0xa0..=0xa1,
        0xa3..=0xa4,
        0xa7..=0x3ff,
        0x404..=0x1000,
        0xdead..=0xdead,
        0x1_0072..=0x1_0072,
        0x7fff_ffff..=0x8000_0000,
        0x8000_0006..=0x8000_000f,
        0x8000_0014..=0x8000_0017,
        0x8000_0019..=0x8000_0019,
        0x8000_001b..=0x8000_1000,
        0x8000_fffc..=0x8000_fffc,
        0x8001_0000..=0x8001_0000,
        0xefff_ffff..=0xefff_ffff,
        0xf000_0001..=0xf000_0001,
        0xffff_fffe..=0xffff_fffe,
    ],
};

/// The numbers in `ranges`.
pub fn all(ranges: &[RangeInclusive<u32>]) -> impl Iterator<Item = u32> + '_ {
    ranges.iter().cloned().flatten()
}

impl Rules {
    /// All defined reasons.
    pub fn defined(&self) -> impl Iterator<Item = u32> {
        all(self.handled)
            .chain(all(self.newer))
            .chain(all(self.unhandled))
    }

    /// Those that `kernel` does not handle.
    pub fn unhandled(&self, kernel: Kernel) -> impl Iterator<Item = u32> + '_ {
        self.defined()
            .filter(move |&reason| self.status(kernel, reason) == Status::Unhandled)
    }

    pub fn status(&self, kernel: Kernel, reason: u32) -> Status {
        let one_of = |ranges: &[RangeInclusive<u32>]| ranges.iter().any(|r| r.contains(&reason));
        let newer = one_of(self.newer);
        if one_of(self.handled) || newer && kernel == Kernel::V7_3 {
            Status::Handled
        } else if one_of(self.unhandled) || newer {
            Status::Unhandled
        } else {
            Status::Undefined
        }
    }
}

pub fn rules(isa: Isa) -> Rules {
    match isa {
        Isa::Vmx => VMX,
        Isa::Svm => SVM,
    }
}

/// What a test has counted, by slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts(pub Vec<Tally>);

impl Profile for Counts {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        let slots = (0..self.0.len()).filter(|&slot| wanted(slot));
        slots.fold(Tally::default(), |sum, slot| sum + self.0[slot])
    }
}

/// A vCPU that does what it is told to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vcpu {
    pub isa: Isa,
    pub kernel: Kernel,
    pub identity: Identity,
    pub live: Counts,
    pub held: Option<(Identity, Counts)>,
    pub taken: u32,
    /// The phases, live and of the snapshot; `None` if they are not recorded.
    pub phases: Option<Totals>,
    pub held_phases: Option<Totals>,
}

impl Responder for Vcpu {
    fn isa(&self) -> Isa {
        self.isa
    }

    fn kernel(&self) -> Kernel {
        self.kernel
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: 3,
            isa: self.isa as u8,
            scope: 1,
            features: 1,
            kernel: self.kernel as u8,
            epoch: self.identity.epoch,
            tsc_khz: 50_000,
        }
    }

    fn snapshot(&mut self, command: Command) -> SnapshotState {
        match command {
            Command::Release => self.held = None,
            Command::Take => {
                self.held = Some((self.identity, self.live.clone()));
                self.held_phases = self.phases;
                self.taken = self.taken.wrapping_add(1);
            }
            Command::Tell => (),
        }
        SnapshotState {
            held: self.held.is_some(),
            taken: self.taken,
        }
    }

    fn identity(&self, when: When) -> Option<Identity> {
        match when {
            When::Now => Some(self.identity),
            When::Snapshot => self.held.as_ref().map(|(identity, _)| *identity),
        }
    }

    fn profile(&self, when: When) -> Option<&dyn Profile> {
        match when {
            When::Now => Some(&self.live),
            When::Snapshot => self.held.as_ref().map(|(_, counts)| counts as &dyn Profile),
        }
    }

    fn phases(&self, when: When) -> Option<Totals> {
        match when {
            When::Now => self.phases,
            When::Snapshot => self.held.as_ref().and(self.held_phases),
        }
    }
}

impl Vcpu {
    pub fn new(isa: Isa, live: Counts) -> Vcpu {
        Vcpu {
            isa,
            kernel: Kernel::V6_1,
            identity: Identity {
                id: 0xc3a5_c85c_97cb_3127,
                epoch: 7,
            },
            live,
            held: None,
            taken: 0x8000_0000,
            phases: None,
            held_phases: None,
        }
    }

    /// One that has counted nothing.
    pub fn zeros(isa: Isa) -> Vcpu {
        Vcpu::new(isa, Counts(vec![Tally::default(); isa.slots()]))
    }

    /// One with a different number in each slot, with something in both halves.
    pub fn distinct(isa: Isa) -> Vcpu {
        let tally = |slot: u64| Tally {
            exits: 0x1_0000_0001 * (slot + 1),
            cycles: 0x10_0000_0010 * (slot + 1),
            untimed: 0x100_0000_0100 * (slot + 1),
        };
        Vcpu::new(isa, Counts((0..isa.slots() as u64).map(tally).collect()))
    }

    /// What CPUID answers: EAX, EBX, ECX, EDX.
    pub fn cpuid(&mut self, eax: u32, ecx: u32) -> [u32; 4] {
        let r = Registers::from(Query::new(eax, ecx).unwrap().answer(self));
        [r.eax, r.ebx, r.ecx, r.edx]
    }
}

pub fn any_isa() -> impl Strategy<Value = Isa> {
    prop_oneof![Just(Isa::Vmx), Just(Isa::Svm)]
}

pub fn any_kernel() -> impl Strategy<Value = Kernel> {
    prop_oneof![Just(Kernel::V6_1), Just(Kernel::V7_3)]
}

pub fn any_tally() -> impl Strategy<Value = Tally> {
    any::<[u64; 3]>().prop_map(|[exits, cycles, untimed]| Tally {
        exits,
        cycles,
        untimed,
    })
}

pub fn any_counts(isa: Isa) -> impl Strategy<Value = Counts> {
    prop::collection::vec(any_tally(), isa.slots()).prop_map(Counts)
}

pub fn any_identity() -> impl Strategy<Value = Identity> {
    any::<(u64, u32)>().prop_map(|(id, epoch)| Identity { id, epoch })
}

/// Any phases, or none.
pub fn any_totals() -> impl Strategy<Value = Option<Totals>> {
    let totals = any::<(u64, [u64; PHASES])>().prop_map(|(guest, cycles)| Totals {
        guest,
        spent: Spent(cycles),
    });
    prop::option::of(totals)
}

/// A vCPU that has counted anything, and may hold a snapshot of anything else.
pub fn any_vcpu() -> impl Strategy<Value = Vcpu> {
    (any_isa(), any_kernel()).prop_flat_map(|(isa, kernel)| {
        let held = prop::option::of((any_identity(), any_counts(isa)));
        let phases = (any_totals(), any_totals());
        let all = (any_identity(), any_counts(isa), held, any::<u32>(), phases);
        all.prop_map(move |(identity, live, held, taken, phases)| Vcpu {
            isa,
            kernel,
            identity,
            live,
            held,
            taken,
            phases: phases.0,
            held_phases: phases.1,
        })
    })
}

/// Any number, and often one that means something.
pub fn any_reason() -> impl Strategy<Value = u32> {
    let near = |rules: Rules| {
        let ranges = [rules.handled, rules.newer, rules.unhandled, rules.undefined].concat();
        prop::sample::select(all(&ranges).collect::<Vec<_>>())
    };
    prop_oneof![near(VMX), near(SVM), any::<u32>()]
}
