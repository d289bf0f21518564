// SPDX-License-Identifier: GPL-2.0

//! The file `profile` for programs: see [`profile::text`](crate::profile::text).

use crate::{
    calibrate::overhead,
    config,
    details::{Array, CODE_SETS},
    epoch,
    host::{self, Host},
    log,
    phases::{Phases, Place},
    profile::{
        counts::{Profile, Tally},
        detail::{without_slot, Kind, Nested},
        heavy::Set,
        isa::Name,
        phases::Spent,
        text::{
            Account, Cause, ClockRow, CodeRow, DetailRow, Head, Line, Owner, PhasesRow, Row,
            TripsRow, VERSION,
        },
        trips::TripTable,
    },
    reading::Reading,
    sys::{clock, cpu},
    vm::Vcpu,
};
use core::fmt::{self, Write};

/// Writes the file. Counters do not restart from zero meanwhile, because of the reading.
///
/// # Errors
///
/// If `to` has no memory.
pub(crate) fn write(host: &Host<'_>, reading: &Reading, to: &mut dyn Write) -> fmt::Result {
    let mut lines = Lines { to, count: 0 };
    // Each vCPU's in turn.
    let (copy, sets) = (Place::new(), Array::new(CODE_SETS));
    let epoch = epoch::current();
    lines.put(Line::Head(head(host, epoch)))?;
    lines.put(Line::Account(account(reading)))?;
    let not_told = |_| Nested::NONE;
    lines.rows(Owner::Host, |slot| host.slot(slot), not_told, Some(host))?;
    for vm in reading.vms() {
        for vcpu in reading.vcpus(vm) {
            let (vm, number, id) = (vm.name.as_str(), vcpu.head.number, vcpu.head.id);
            lines.put(Line::Attached {
                vm,
                vcpu: number,
                id,
            })?;
            let owner = Owner::Vcpu {
                vm,
                vcpu: number,
                id,
            };
            let details = &vcpu.head.details;
            let nested = |slot| details.nested(slot);
            lines.rows(owner, |slot| vcpu.slot(slot), nested, None)?;
            if let Some(phases) = vcpu.head.phases.get() {
                let copy = copy.make().map_err(|_| fmt::Error)?;
                phases.copy_to(copy);
                let (since, until) = copy.period();
                let clock = ClockRow {
                    owner,
                    since,
                    until,
                    guest: copy.guest(),
                };
                lines.phases(clock, |slot| copy.spent(slot), &copy.trips)?;
            }
            let sets = sets.make().map_err(|_| fmt::Error)?;
            for (kind, level) in kinds_and_levels() {
                lines.details(owner, kind, level, details.copy_kind(kind, level, sets))?;
            }
            lines.code(owner, details.copy_code(sets))?;
        }
    }
    let ended = reading.ended();
    let tally = |slot| ended.tallies.get(slot).copied().unwrap_or_default();
    let (details, ended) = (&ended.details, &ended.phases);
    lines.rows(Owner::Ended, tally, |slot| details.nested(slot), None)?;
    let clock = ClockRow {
        owner: Owner::Ended,
        since: 0,
        until: ended.elapsed,
        guest: ended.guest,
    };
    let spent = |slot| ended.spent.get(slot).copied().unwrap_or_default();
    lines.phases(clock, spent, &ended.trips)?;
    for (kind, level) in kinds_and_levels() {
        lines.details(Owner::Ended, kind, level, details.kind(kind, level))?;
    }
    lines.code(Owner::Ended, details.code())?;
    let unattributed = host.unattributed();
    let tally = |slot| unattributed.slot(slot);
    lines.rows(Owner::Unattributed, tally, not_told, None)?;
    let count = lines.count.wrapping_add(1);
    lines.put(Line::End {
        epoch,
        lines: count,
    })
}

/// All kinds of details, and both levels of guests.
fn kinds_and_levels() -> impl Iterator<Item = (Kind, u8)> {
    let both = |kind| [(kind, 1), (kind, 2)];
    Kind::ALL.into_iter().flat_map(both)
}

fn head(host: &Host<'_>, epoch: u32) -> Head {
    Head {
        version: VERSION,
        isa: config::isa(),
        id: host.id(),
        epoch,
        tsc_khz: clock::tsc_khz(),
        time_ns: clock::now(),
        since_ns: epoch::since(),
        cpus: cpu::online(),
        recording: config::recording(),
        per_vcpu: config::per_vcpu(),
        histograms: config::histograms(),
        phases: config::recording() && config::phases(),
        details: config::details(),
        code: config::code(),
    }
}

fn account(reading: &Reading) -> Account {
    let of_cpus = host::Memory::size().wrapping_mul(cpu::possible() as usize);
    let of_vcpus = Vcpu::size(config::vcpu_slots()).wrapping_mul(reading.count());
    let phases = reading.vms().flat_map(|vm| reading.vcpus(vm));
    let phases = phases.filter(|vcpu| vcpu.head.phases.get().is_some());
    let of_phases = Phases::size().wrapping_mul(phases.count());
    let details = reading.vms().flat_map(|vm| reading.vcpus(vm));
    let of_details = details.fold(0_usize, |sum, vcpu| {
        sum.wrapping_add(vcpu.head.details.size())
    });
    let (sample_cycles, record_cycles) = overhead();
    Account {
        sample_cycles,
        record_cycles,
        memory_bytes: of_cpus
            .wrapping_add(of_vcpus)
            .wrapping_add(of_phases)
            .wrapping_add(of_details) as u64,
        suppressed: log::suppressed(),
    }
}

/// What the time of a cell went to, and its name.
fn cause(slot: usize) -> (Cause, Name) {
    let isa = config::isa();
    let reason = match slot == Phases::before_first() {
        true => return (Cause::Run, isa.name(u32::MAX)),
        false => isa.reason(slot),
    };
    (Cause::Exit(reason), isa.name(reason.unwrap_or(u32::MAX)))
}

/// Writes and counts lines.
struct Lines<'a> {
    to: &'a mut dyn Write,
    count: u64,
}

impl Lines<'_> {
    /// Writes a line for the clock, for each reason that took time, and for each way that
    /// led to userspace; nothing if the clock never ran.
    fn phases(
        &mut self,
        clock: ClockRow<'_>,
        spent: impl Fn(usize) -> Spent,
        trips: &TripTable,
    ) -> fmt::Result {
        let owner = clock.owner;
        if clock.since == clock.until {
            return Ok(());
        }
        self.put(Line::Clock(clock))?;
        for slot in 0..=config::isa().slots() {
            let spent = spent(slot);
            if spent != Spent::NONE {
                let (cause, name) = cause(slot);
                self.put(Line::Phases(PhasesRow {
                    owner,
                    cause,
                    name,
                    spent,
                }))?;
            }
        }
        for ((slot, exit), trips) in trips.rows() {
            let (cause, name) = cause(slot);
            self.put(Line::Trips(TripsRow {
                owner,
                cause,
                name,
                exit,
                trips,
            }))?;
        }
        Ok(())
    }

    /// Writes a line for each detail of a kind and level.
    fn details(&mut self, owner: Owner<'_>, kind: Kind, level: u8, sets: &[Set]) -> fmt::Result {
        let isa = config::isa();
        let reason = match kind.reason(isa) {
            Some(reason) => reason,
            None => return Ok(()),
        };
        for mut entry in sets.iter().flat_map(Set::entries) {
            entry.key = kind.key(isa, entry.key);
            self.put(Line::Detail(DetailRow {
                owner,
                reason,
                name: isa.name(reason),
                kind,
                level,
                entry,
            }))?;
        }
        Ok(())
    }

    /// Writes a line for each place in the guest.
    fn code(&mut self, owner: Owner<'_>, sets: &[Set]) -> fmt::Result {
        let isa = config::isa();
        for mut entry in sets.iter().flat_map(Set::entries) {
            let (key, slot, level) = without_slot(entry.key);
            let reason = isa.reason(slot);
            entry.key = key;
            self.put(Line::Code(CodeRow {
                owner,
                reason,
                name: isa.name(reason.unwrap_or(u32::MAX)),
                level,
                entry,
            }))?;
        }
        Ok(())
    }

    fn put(&mut self, line: Line<'_, Name>) -> fmt::Result {
        self.count = self.count.wrapping_add(1);
        self.to.write_fmt(format_args!("{line}\n"))
    }

    /// Writes a line for each reason that occurred, with its histogram if `host` is
    /// given.
    fn rows(
        &mut self,
        owner: Owner<'_>,
        tally: impl Fn(usize) -> Tally,
        nested: impl Fn(usize) -> Nested,
        host: Option<&Host<'_>>,
    ) -> fmt::Result {
        let isa = config::isa();
        for slot in 0..isa.slots() {
            clock::cond_resched();
            let tally = tally(slot);
            if tally.exits == 0 {
                continue;
            }
            let reason = isa.reason(slot);
            self.put(Line::Row(Row {
                owner,
                reason,
                name: isa.name(reason.unwrap_or(u32::MAX)),
                tally,
                nested: nested(slot),
                histogram: host
                    .and_then(|host| host.histogram(slot))
                    .filter(|histogram| histogram.min <= histogram.max),
            }))?;
        }
        Ok(())
    }
}
