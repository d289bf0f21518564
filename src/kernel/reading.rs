// SPDX-License-Identifier: GPL-2.0

//! Reading all VMs at one time.

use crate::{
    config,
    profile::{counts::Tally, isa::Isa},
    sys::{
        clock,
        lock::{Guard, Mutex, ReadingMutex},
    },
    vcpus::{self, Begun, Vcpu, Vm, NOTHING},
};

/// What vCPUs have counted that had ended when the reading began, by slot.
type Ended = [Tally; Isa::MAX_SLOTS];

// SAFETY: Nobody else has the mutex. Who holds it may wait for memory, or for the log;
// nobody waits for it but who reads, or lets the counters start from zero.
static READING: Mutex<ReadingMutex, Ended> = unsafe { Mutex::new(ReadingMutex, NOTHING) };

/// A reading of all VMs, as they were when it began. Counters do not start from zero
/// meanwhile; vCPUs that end are as they were; and nobody waits for it but who
/// wants to read or to let them start from zero, too.
///
/// # Invariants
///
/// It is between `begin_reading()` and `end_reading()`.
pub(crate) struct Reading {
    ended: Guard<'static, ReadingMutex, Ended>,
    begun: Begun,
}

impl Reading {
    /// Begins one, when others have ended.
    ///
    /// # Context
    ///
    /// Where one may sleep.
    pub(crate) fn begin() -> Reading {
        let mut ended = READING.lock();
        let begun = vcpus::begin_reading(&mut ended);
        // INVARIANT: It was begun just now.
        Reading { ended, begun }
    }

    /// All VMs.
    pub(crate) fn vms(&self) -> impl Iterator<Item = &Vm> {
        // SAFETY: By the type's invariant, here and below.
        let all = unsafe { vcpus::all() };
        all.map(|vm| unsafe { &*vm.as_ptr() })
    }

    /// The vCPUs of a VM that have counters.
    pub(crate) fn vcpus<'a>(&self, vm: &'a Vm) -> impl Iterator<Item = &'a Vcpu> {
        let generation = self.begun.generation;
        let counted = config::per_vcpu();
        vm.attached()
            .filter(move |vcpu| counted && vcpu.was_live(generation))
    }

    /// How many vCPUs there were.
    pub(crate) fn count(&self) -> usize {
        self.begun.vcpus
    }

    /// What the vCPUs have counted that had ended, by slot.
    pub(crate) fn ended(&self) -> &[Tally] {
        &*self.ended
    }

    /// Sets the counters of all vCPUs to zero, while none is added to.
    pub(crate) fn clear(&mut self) {
        for vm in self.vms() {
            // Those as well that end meanwhile.
            vm.attached().for_each(|vcpu| vcpu.cells().clear());
            clock::cond_resched();
        }
        vcpus::clear_ended();
        self.ended.copy_from_slice(&NOTHING);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant; what was found is borrowed from this.
        unsafe { vcpus::end_reading() };
    }
}
