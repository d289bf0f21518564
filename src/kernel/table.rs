// SPDX-License-Identifier: GPL-2.0

//! Tables of exits, by reason and by vCPU, for the log and for files.

use crate::{
    block::Owned,
    config, epoch,
    host::Host,
    profile::{
        counts::{Profile, Tally},
        table::TableRow,
    },
    reading::Reading,
    sys::{clock, memory::Wait},
};
use core::{
    fmt::{self, Display, Write},
    sync::atomic::{
        fence,
        Ordering::{Acquire, Relaxed},
    },
};
use kernel::prelude::*;

/// The host's log. Each call of `write_fmt()` is a line.
pub(crate) struct Log;

impl Write for Log {
    fn write_str(&mut self, line: &str) -> fmt::Result {
        pr_info!("{line}");
        Ok(())
    }

    fn write_fmt(&mut self, line: fmt::Arguments<'_>) -> fmt::Result {
        pr_info!("{line}");
        Ok(())
    }
}

/// Roughly the time that a reset takes, in nanoseconds.
const RESET_NS: u64 = 1_000_000;

/// Writes the exits of each reason that occurred, most frequent first. Takes no lock.
///
/// # Errors
///
/// If there is no memory.
pub(crate) fn by_reason(profile: &dyn Profile, to: &mut dyn Write) -> fmt::Result {
    let isa = config::isa();
    // The stack is too small for a tally of each reason.
    let sums = Owned::try_new((), isa.slots(), Wait::Yes).map_err(|_| fmt::Error)?;
    let sums = sums.cells();
    // Repeated if the counters restart from zero meanwhile.
    loop {
        let before = epoch::current();
        sums.clear();
        for slot in 0..isa.slots() {
            sums.add(slot, profile.slot(slot));
            clock::cond_resched();
        }
        fence(Acquire);
        if before != 0 && before == epoch::current() {
            break;
        }
        clock::wait(RESET_NS);
    }
    let total = sums.total();

    to.write_fmt(format_args!("{}\n", TableRow::HEAD))?;
    // The sorting functions of `core::slice` can panic as far as the compiler knows.
    while let Some(slot) = (0..isa.slots())
        .filter(|&slot| sums.slot(slot).exits > 0)
        .max_by_key(|&slot| sums.slot(slot).exits)
    {
        let Tally { exits, cycles, .. } = sums.slot(slot);
        match isa.reason(slot) {
            Some(reason) => {
                let row = TableRow(isa.number(reason), isa.name(reason), exits, cycles);
                to.write_fmt(format_args!("{row}\n"))?;
            }
            None => to.write_fmt(format_args!("{}\n", TableRow("other", "", exits, cycles)))?,
        }
        if let Some(printed) = sums.counters.get(slot) {
            printed.exits.store(0, Relaxed);
        }
    }
    let Tally { exits, cycles, .. } = total;
    to.write_fmt(format_args!("{}\n", TableRow("total", "", exits, cycles)))
}

/// Writes the exits of each VM and vCPU, and what completes the host's total: ended vCPUs
/// and unattributed exits.
///
/// # Errors
///
/// If `to` has no memory.
pub(crate) fn by_vcpu(host: &Host<'_>, reading: &Reading, to: &mut dyn Write) -> fmt::Result {
    to.write_fmt(format_args!(
        "{:<24} {:>6} {:>12} {:>17}\n",
        "vm", "vcpu", "exits", "cycles"
    ))?;
    let mut row = |vm: &str, vcpu: &dyn Display, tally: Tally| {
        let Tally { exits, cycles, .. } = tally;
        to.write_fmt(format_args!(
            "{vm:<24} {vcpu:>6} {exits:>12} {cycles:>17}\n"
        ))
    };
    // Read before the counters of vCPUs, which may be running.
    let (unattributed, total) = (host.unattributed().total(), host.total());
    for vm in reading.vms() {
        let (name, mut all) = (vm.name.as_str(), None);
        for vcpu in reading.vcpus(vm) {
            let tally = vcpu.total();
            row(name, &vcpu.head.number, tally)?;
            all = Some(all.unwrap_or_default() + tally);
        }
        if let Some(all) = all {
            row(name, &"all", all)?;
        }
        clock::cond_resched();
    }
    let ended = reading.ended().tallies.iter();
    row(
        "ended",
        &"",
        ended.fold(Tally::default(), |sum, &slot| sum + slot),
    )?;
    row("unattributed", &"", unattributed)?;
    row("total", &"", total)
}
