// SPDX-License-Identifier: GPL-2.0

//! What a guest that asks is told, which is about itself or about the host.

use crate::{
    block::Owned,
    config, epoch,
    host::{Host, KeepsHost},
    profile::{
        cells::{Cells, Counter},
        counts::{Profile, Tally},
        isa::Isa,
        leaf::{
            Command, Identity, Protocol, Responder, Scope, Snapshot, When, FEATURE_SNAPSHOT,
            VERSION,
        },
        throttle::QueryBudget,
    },
    snapshot::Held,
    sys::{clock, cpu, memory::Wait},
    vcpus::Vcpu,
};
use core::mem;

/// The bytes of a cache line.
const LINE: usize = 64;

/// What vCPUs may read together that have no profile.
static NOBODYS_BUDGET: QueryBudget = QueryBudget::new();

/// The counters that a guest is told of, as they are.
struct Live<'a> {
    scope: Scope,
    host: Host<'a>,
    own: Option<&'a Vcpu>,
}

impl Live<'_> {
    /// Calls `with` for the counters of each CPU or vCPU that are to be summed up, of
    /// which it reads `bytes`. Waits first if the vCPU has read too much.
    fn each(&self, bytes: usize, mut with: impl FnMut(Cells<'_>)) {
        let budget = match self.own {
            Some(own) => &own.head.budget,
            None => &NOBODYS_BUDGET,
        };
        let several = match (self.scope, self.own) {
            (Scope::Host, _) => cpu::possible() as usize,
            (Scope::Vm, Some(own)) => own.vm().vcpus().count(),
            // Its own, which nobody else writes.
            _ => 0,
        };
        let lines = (bytes.saturating_add(LINE - 1) / LINE).saturating_mul(several);
        match budget.take(lines as u64, clock::now()) {
            0 => (),
            ns => clock::wait(ns),
        }
        // What others wrote is far away.
        let with = |cells: Cells<'_>| {
            with(cells);
            clock::cond_resched();
        };
        match (self.scope, self.own) {
            (Scope::Host, _) => self.host.each(with),
            (Scope::Vm, Some(own)) => own.vm().vcpus().map(Vcpu::cells).for_each(with),
            (Scope::Vcpu, Some(own)) => [own.cells()].into_iter().for_each(with),
            (Scope::Vm | Scope::Vcpu, None) => (),
        }
    }

    /// The bytes that the counters of all slots take.
    fn all() -> usize {
        let slot = mem::size_of::<Counter>().wrapping_add(mem::size_of::<u64>());
        config::isa().slots().wrapping_mul(slot)
    }
}

impl Profile for Live<'_> {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        let mut sum = Tally::default();
        self.each(Live::all(), |cells| sum = sum + cells.sum(wanted));
        sum
    }

    fn total(&self) -> Tally {
        let mut sum = Tally::default();
        self.each(Live::all(), |cells| sum = sum + cells.total());
        sum
    }

    fn slot(&self, slot: usize) -> Tally {
        let mut sum = Tally::default();
        self.each(2 * LINE, |cells| sum = sum + cells.slot(slot));
        sum
    }
}

/// What answers the guest on a vCPU.
///
/// # Invariants
///
/// KVM has called us in the vCPU's task, and waits for `'a`; `own` is the vCPU's
/// profile, and there is no other `Guest` of it.
pub(crate) struct Guest<'a> {
    live: Live<'a>,
    epoch: u32,
}

impl<'a> Guest<'a> {
    /// For the guest on the vCPU with the profile `own`; `None` if it is to be told
    /// nothing.
    ///
    /// # Safety
    ///
    /// By the type's invariant, `'a` being that of `call`.
    pub(crate) unsafe fn new(call: &'a impl KeepsHost, own: Option<&'a Vcpu>) -> Option<Guest<'a>> {
        let scope = config::scope()?;
        if scope != Scope::Host && own.is_none() {
            // There was no memory to count its exits apart.
            return None;
        }
        // INVARIANT: By this function's contract.
        Some(Guest {
            // Before any counter, so that what is mixed up by a reset is of neither epoch.
            epoch: epoch::current(),
            live: Live {
                scope,
                host: Host::get(call)?,
                own,
            },
        })
    }

    fn current_identity(&self) -> Identity {
        let id = match (self.live.scope, self.live.own) {
            (Scope::Vm, Some(own)) => own.vm().id,
            (Scope::Vcpu, Some(own)) => own.head.id,
            _ => self.live.host.id(),
        };
        Identity {
            id,
            epoch: self.epoch,
        }
    }

    /// What the vCPU holds.
    fn held(&self) -> (Option<&Held>, Snapshot) {
        let own = match self.live.own {
            Some(own) => own,
            None => return (None, Snapshot::default()),
        };
        // SAFETY: By the type's invariant this is the vCPU's task. It is changed
        // by `snapshot()` alone, which borrows us exclusively.
        unsafe { own.head.snapshots.get(self.live.scope, self.epoch) }
    }

    /// A snapshot of all counters, if there is memory, and they are not being set to
    /// zero: that would be of no epoch.
    fn take(&self) -> Option<Held> {
        if self.epoch == 0 {
            return None;
        }
        let block = Owned::try_new((), config::vcpu_slots(), Wait::No).ok()?;
        let sum = block.cells();
        self.live.each(Live::all(), |cells| {
            for slot in 0..sum.counters.len() {
                sum.add(slot, cells.slot(slot));
            }
        });
        Some(Held {
            scope: self.live.scope,
            identity: self.current_identity(),
            block,
        })
    }
}

impl Responder for Guest<'_> {
    fn isa(&self) -> Isa {
        config::isa()
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: VERSION,
            isa: config::isa() as u8,
            scope: self.live.scope as u8,
            features: match config::per_vcpu() {
                true => FEATURE_SNAPSHOT,
                false => 0,
            },
            epoch: self.epoch,
            tsc_khz: clock::tsc_khz(),
        }
    }

    fn snapshot(&mut self, command: Command) -> Snapshot {
        let own = self.live.own.filter(|_| config::per_vcpu());
        if let (Some(own), Command::Take | Command::Release) = (own, command) {
            // The last one goes before there is another: a vCPU holds one at most.
            // SAFETY: By the type's invariant this is the vCPU's task; what
            // `held()` has returned is gone, for we are borrowed exclusively.
            unsafe { own.head.snapshots.set(None) };
            if command == Command::Take {
                let taken = self.take();
                // SAFETY: As above.
                unsafe { own.head.snapshots.set(taken) };
            }
        }
        self.held().1
    }

    fn identity(&self, when: When) -> Option<Identity> {
        match when {
            When::Now => Some(self.current_identity()),
            When::Snapshot => self.held().0.map(|held| held.identity),
        }
    }

    fn profile(&self, when: When) -> Option<&dyn Profile> {
        match when {
            When::Now => Some(&self.live),
            When::Snapshot => self.held().0.map(|held| &*held.block as &dyn Profile),
        }
    }
}
