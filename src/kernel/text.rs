// SPDX-License-Identifier: GPL-2.0

//! The profile for programs: see [`profile::text`](crate::profile::text).

use crate::{
    bindings,
    calibrate::overhead,
    log,
    profile::{
        counts::{Profile, Sample},
        reason::Name,
        text::{Account, Head, Line, Row, Whose, VERSION},
    },
    profiler::{self, isa},
    record::Memory,
    vcpu::{VcpuProfile, Vcpus},
    view::Totals,
};
use core::{fmt::Arguments, ptr};

/// Shows it line by line, under the lock: the counters are not set to zero meanwhile,
/// nor does a vCPU end.
pub(crate) fn show(totals: &Totals<'_>, line: impl FnMut(Arguments<'_>)) {
    Vcpus::lock(|vcpus| {
        let mut lines = Lines { line, count: 0 };
        let epoch = profiler::epoch();
        lines.put(Line::Head(head(epoch)));
        lines.put(Line::Account(account(totals, vcpus)));
        lines.rows(Whose::Host, |slot| totals.slot(slot), Some(totals));
        for profile in vcpus.profiles() {
            // SAFETY: Who takes the lock may sleep, and holds no other that forbids it.
            unsafe { bindings::exitprof_cond_resched() };
            let (vm, vcpu) = (profile.head.vm.name(), profile.head.id);
            lines.put(Line::Attached { vm, vcpu });
            lines.rows(Whose::Vcpu(vm, vcpu), |slot| profile.slot(slot), None);
        }
        let ended = |slot| vcpus.ended.get(slot).copied().unwrap_or_default();
        lines.rows(Whose::Ended, ended, None);
        let unattributed = |slot| totals.unattributed_slot(slot);
        lines.rows(Whose::Unattributed, unattributed, None);
        let count = lines.count.wrapping_add(1);
        lines.put(Line::End {
            epoch,
            lines: count,
        });
    });
}

fn head(epoch: u32) -> Head {
    Head {
        version: VERSION,
        isa: isa(),
        epoch,
        // SAFETY: An aligned word, which the kernel may refine at any time.
        tsc_khz: unsafe { ptr::read_volatile(ptr::addr_of!(bindings::tsc_khz)) },
        time_ns: profiler::now(),
        since_ns: profiler::since(),
        // SAFETY: It has no requirements.
        cpus: unsafe { bindings::exitprof_online_cpus() },
        sampling: profiler::sampling(),
        per_vcpu: profiler::per_vcpu(),
        distributions: profiler::distributions(),
    }
}

fn account(totals: &Totals<'_>, vcpus: &Vcpus) -> Account {
    let of_cpus =
        Memory::size(isa(), profiler::distributions()).wrapping_mul(totals.cpus().count());
    let of_vcpus = VcpuProfile::size().wrapping_mul(vcpus.profiles().count());
    let (sample_cycles, record_cycles) = overhead();
    Account {
        sample_cycles,
        record_cycles,
        memory_bytes: of_cpus.wrapping_add(of_vcpus) as u64,
        suppressed: log::suppressed(),
    }
}

/// Where lines are put, and how many were.
struct Lines<W> {
    line: W,
    count: u64,
}

impl<W: FnMut(Arguments<'_>)> Lines<W> {
    fn put(&mut self, line: Line<'_, Name>) {
        (self.line)(format_args!("{line}"));
        self.count = self.count.wrapping_add(1);
    }

    /// Those of the reasons that occurred, with distributions of `spread`, if any.
    fn rows(
        &mut self,
        whose: Whose<'_>,
        sample: impl Fn(usize) -> Sample,
        spread: Option<&Totals<'_>>,
    ) {
        let isa = isa();
        for slot in 0..isa.slots() {
            let sample = sample(slot);
            if sample.exits == 0 {
                continue;
            }
            let reason = isa.reason(slot);
            self.put(Line::Row(Row {
                whose,
                reason,
                name: isa.name(reason.unwrap_or(u32::MAX)),
                sample,
                distribution: spread.and_then(|totals| totals.distribution(slot)),
            }));
        }
    }
}
