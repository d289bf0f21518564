// SPDX-License-Identifier: GPL-2.0

//! Tables of exits, by reason and by vCPU, for the log and for files.

use crate::{
    bindings,
    profile::counts::{Profile, Row, Sample, Summed},
    profiler::isa,
    vcpu::{Vcpus, Vm},
    view::Totals,
};
use core::fmt::{Arguments, Display};
use kernel::prelude::*;

/// A line for the host's log.
pub(crate) fn log(line: Arguments<'_>) {
    pr_info!("{line}\n");
}

/// Instead of a table.
const NO_MEMORY: &str = "no memory for the table of exits";

/// The reasons that occurred, most frequent first, line by line.
pub(crate) fn by_reason(profile: &(impl Summed + ?Sized), mut line: impl FnMut(Arguments<'_>)) {
    let isa = isa();
    let mut rows = Vec::new();
    for slot in 0..isa.slots() {
        if rows.try_push((slot, Sample::default())).is_err() {
            return line(format_args!("{NO_MEMORY}"));
        }
    }
    profile.each(|counters| {
        for ((_, sum), counter) in rows.iter_mut().zip(counters) {
            *sum = *sum + counter.load();
        }
    });
    let total = rows.iter().fold(Sample::default(), |sum, row| sum + row.1);
    // Sorting by core::slice could panic, as far as the compiler knows.
    let mut next = || {
        let row = rows.iter_mut().max_by_key(|(_, sample)| sample.exits)?;
        (row.1.exits > 0).then(|| core::mem::take(row))
    };

    line(format_args!("{}", Row::HEAD));
    while let Some((slot, Sample { exits, cycles })) = next() {
        match isa.reason(slot) {
            Some(reason) => {
                let row = Row(isa.number(reason), isa.name(reason), exits, cycles);
                line(format_args!("{row}"));
            }
            None => line(format_args!("{}", Row("other", "", exits, cycles))),
        }
    }
    let Sample { exits, cycles } = total;
    line(format_args!("{}", Row("total", "", exits, cycles)));
}

/// Each VM and its vCPUs, and what makes these the host's total: the vCPUs that
/// have ended, and exits that were counted of none; line by line.
pub(crate) fn by_vcpu(totals: &Totals<'_>, mut line: impl FnMut(Arguments<'_>)) {
    // Nothing is written under the lock: the log may be slow.
    let mut vcpus: Vec<(Vm, u32, Sample)> = Vec::new();
    let sums = Vcpus::lock(|all| {
        for profile in all.profiles() {
            let row = (profile.head.vm, profile.head.id, profile.total());
            vcpus.try_push(row).ok()?;
        }
        let ended = all.ended.iter();
        let ended = ended.fold(Sample::default(), |sum, &slot| sum + slot);
        Some([
            ("ended", ended),
            ("unattributed", totals.unattributed()),
            ("total", totals.total()),
        ])
    });
    let sums = match sums {
        Some(sums) => sums,
        None => return line(format_args!("{NO_MEMORY}")),
    };

    let mut row = |vm: &str, vcpu: &dyn Display, exits: &dyn Display, cycles: &dyn Display| {
        line(format_args!("{vm:<24} {vcpu:>6} {exits:>12} {cycles:>17}"));
    };
    row("vm", &"vcpu", &"exits", &"cycles");
    for (index, (vm, _, _)) in vcpus.iter().enumerate() {
        let of_vm = |of: &&(Vm, u32, Sample)| of.0.number == vm.number;
        // A VM stands where the first vCPU of it does.
        if vcpus.iter().take(index).any(|other| of_vm(&other)) {
            continue;
        }
        // SAFETY: It has no requirement but that this may sleep: see `Vcpus::lock()`.
        unsafe { bindings::exitprof_cond_resched() };
        let own = vcpus.iter().filter(of_vm);
        let all = own.fold(Sample::default(), |sum, vcpu| sum + vcpu.2);
        row(vm.name(), &"all", &all.exits, &all.cycles);
        for (vm, id, own) in vcpus.iter().filter(of_vm) {
            row(vm.name(), id, &own.exits, &own.cycles);
        }
    }
    for (name, sum) in sums {
        row(name, &"", &sum.exits, &sum.cycles);
    }
}
