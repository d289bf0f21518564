// SPDX-License-Identifier: GPL-2.0

//! A consistent reading of all VMs.

use crate::{
    config,
    sys::{
        clock,
        lock::{Guard, Mutex, ReadingMutex},
    },
    vm::{Vcpu, Vm},
    vms::{self, Begun, Ended},
};

// SAFETY: No other `Mutex` has this mutex. Its holder may wait for memory or for the log.
// Only readings and resets wait for it.
static READING: Mutex<ReadingMutex, Ended> = unsafe { Mutex::new(ReadingMutex, Ended::NONE) };

/// A reading of all VMs, as they were when it began. Meanwhile, counters do not restart
/// from zero, and the counters of vCPUs that end stay as they are. Only other readings
/// and resets wait for it.
///
/// # Invariants
///
/// It exists from `begin_reading()` to `end_reading()`.
pub(crate) struct Reading {
    ended: Guard<'static, ReadingMutex, Ended>,
    begun: Begun,
}

impl Reading {
    /// Begins a reading, after all other readings have ended.
    ///
    /// # Context
    ///
    /// May sleep.
    pub(crate) fn begin() -> Reading {
        let mut ended = READING.lock();
        // SAFETY: `ended` holds the mutex, and is released after `end_reading()`.
        let begun = unsafe { vms::begin_reading(&mut ended) };
        // INVARIANT: `begin_reading()` was called above.
        Reading { ended, begun }
    }

    /// All VMs.
    pub(crate) fn vms(&self) -> impl Iterator<Item = &Vm> {
        // SAFETY: By the type's invariant, no VM leaves the list or is freed while `self`
        // exists: here and below.
        let all = unsafe { vms::all() };
        all.map(|vm| unsafe { &*vm.as_ptr() })
    }

    /// The vCPUs of a VM that had not ended when the reading began; none with
    /// `per_vcpu=N`.
    pub(crate) fn vcpus<'a>(&self, vm: &'a Vm) -> impl Iterator<Item = &'a Vcpu> {
        let generation = self.begun.generation;
        let counted = config::per_vcpu();
        vm.attached()
            .filter(move |vcpu| counted && vcpu.was_live(generation))
    }

    /// The number of vCPUs when the reading began.
    pub(crate) fn count(&self) -> usize {
        self.begun.vcpus
    }

    /// The sums of the vCPUs that had ended when the reading began.
    pub(crate) fn ended(&self) -> &Ended {
        &self.ended
    }

    /// Makes places for the phases of all vCPUs. A vCPU that is attached meanwhile makes
    /// its own, if `phases` was set before.
    pub(crate) fn make_phases(&self) {
        for vm in self.vms() {
            vm.vcpus().for_each(vms::make_phases);
            clock::cond_resched();
        }
    }

    /// Makes room for the details of all vCPUs, in the same way.
    pub(crate) fn make_details(&self) {
        for vm in self.vms() {
            vm.vcpus().for_each(|vcpu| vcpu.head.details.make());
            clock::cond_resched();
        }
    }

    /// Stops the phases of all vCPUs, which were recorded at least until `now`. KVM records
    /// none meanwhile.
    pub(crate) fn stop_phases(&self, now: u64) {
        for vm in self.vms() {
            vm.attached()
                .filter_map(|vcpu| vcpu.head.phases.get())
                .for_each(|phases| phases.stop(now));
            clock::cond_resched();
        }
    }

    /// Sets the counters of all vCPUs to zero. Nobody may add to them meanwhile.
    pub(crate) fn clear(&mut self) {
        for vm in self.vms() {
            // All vCPUs, including those that end meanwhile.
            for vcpu in vm.attached() {
                vcpu.cells().clear();
                vcpu.head.details.clear();
                if let Some(phases) = vcpu.head.phases.get() {
                    phases.clear();
                }
            }
            clock::cond_resched();
        }
        vms::clear_ended();
        self.ended.clear();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, `begin_reading()` came before. The VMs that it
        // kept were borrowed from `self`.
        unsafe { vms::end_reading() };
    }
}
