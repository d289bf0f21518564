// SPDX-License-Identifier: GPL-2.0

//! Counters, and sums over them.

mod common;

use common::{any_counts, any_isa, any_kernel, any_reason, any_tally, rules, Counts, Vcpu};
use profile::{
    cells::{Cells, Counter},
    counts::{Profile, Tally},
    isa::Isa,
    reason::{Kernel, Status},
};
use proptest::prelude::*;
use std::sync::atomic::AtomicU64;

/// The counters of a CPU.
#[derive(Default)]
struct Cpu {
    counters: Vec<Counter>,
    untimed: Vec<AtomicU64>,
}

impl Cpu {
    fn new(slots: usize) -> Cpu {
        let mut cpu = Cpu::default();
        cpu.counters.resize_with(slots, Counter::default);
        cpu.untimed.resize_with(slots, AtomicU64::default);
        cpu
    }

    fn cells(&self) -> Cells<'_> {
        Cells {
            counters: &self.counters,
            untimed: &self.untimed,
        }
    }
}

/// What the CPUs have counted.
struct OfCpus(Vec<Cpu>);

impl Profile for OfCpus {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        let cpus = self.0.iter().map(|cpu| cpu.cells().sum(wanted));
        cpus.fold(Tally::default(), |sum, cpu| sum + cpu)
    }
}

#[test]
fn answers_are_sums_over_cpus() {
    for isa in [Isa::Vmx, Isa::Svm] {
        let Counts(slots) = Vcpu::distinct(isa).live;
        let cpu = || {
            let cpu = Cpu::new(isa.slots());
            for (slot, tally) in slots.iter().enumerate() {
                cpu.cells().add(slot, *tally);
            }
            cpu
        };
        let one = Counts(slots.clone());
        let cpus = OfCpus(vec![cpu(), cpu(), cpu()]);
        let thrice = |tally: Tally| tally + tally + tally;
        for slot in 0..isa.slots() {
            assert_eq!(cpus.slot(slot), thrice(one.slot(slot)));
        }
        assert_eq!(cpus.total(), thrice(one.total()));
        for kernel in [Kernel::V6_1, Kernel::V7_3] {
            assert_eq!(cpus.hidden(isa, kernel), thrice(one.hidden(isa, kernel)));
        }
    }
}

#[test]
fn a_cell_without_a_slot_reads_nothing_and_takes_nothing() {
    let cpu = Cpu::new(2);
    let one = Tally {
        exits: 1,
        cycles: 2,
        untimed: 1,
    };
    cpu.cells().add(2, one);
    cpu.cells().add(usize::MAX, one);
    assert_eq!(cpu.cells().sum(&|_| true), Tally::default());
    assert_eq!(cpu.cells().slot(2), Tally::default());
}

proptest! {
    #[test]
    fn cells_come_to_what_was_added_modulo_2_64(
        additions in prop::collection::vec((0usize..5, any_tally()), 0..30),
    ) {
        let cpu = Cpu::new(5);
        let mut want = [Tally::default(); 5];
        for (slot, tally) in additions {
            cpu.cells().add(slot, tally);
            let Tally { exits, cycles, untimed } = &mut want[slot];
            *exits = exits.wrapping_add(tally.exits);
            *cycles = cycles.wrapping_add(tally.cycles);
            *untimed = untimed.wrapping_add(tally.untimed);
        }
        for (slot, want) in want.iter().enumerate() {
            prop_assert_eq!(cpu.cells().slot(slot), *want);
        }
        prop_assert_eq!(cpu.cells().sum(&|slot| slot % 2 == 1), want[1] + want[3]);
        cpu.cells().clear();
        prop_assert_eq!(cpu.cells().sum(&|_| true), Tally::default());
    }

    #[test]
    fn a_reason_is_visible_as_far_as_it_is_handled(
        (isa, counts) in any_isa().prop_flat_map(|isa| (Just(isa), any_counts(isa))),
        kernel in any_kernel(),
        reason in any_reason(),
    ) {
        let want = match rules(isa).status(kernel, reason) {
            Status::Handled => Some(counts.0[isa.slot(reason)]),
            Status::Unhandled => Some(Tally::default()),
            Status::Undefined => None,
        };
        prop_assert_eq!(counts.visible(isa, kernel, reason), want);
    }

    /// In each of the three numbers.
    #[test]
    fn what_is_hidden_is_the_total_less_what_is_visible(
        (isa, counts) in any_isa().prop_flat_map(|isa| (Just(isa), any_counts(isa))),
        kernel in any_kernel(),
    ) {
        let rules = rules(isa);
        let visible = rules.defined().filter_map(|reason| counts.visible(isa, kernel, reason));
        let sum = visible.fold(Tally::default(), |sum, tally| sum + tally);
        prop_assert_eq!(sum + counts.hidden(isa, kernel), counts.total());
    }
}
