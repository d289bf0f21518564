// SPDX-License-Identifier: GPL-2.0

//! Answers to guests, from the counters that `scope` selects.

use crate::{
    block::Owned,
    config, epoch,
    host::{Host, KeepsHost},
    phases::{Phases, ATTEMPTS},
    profile::{
        cells::Cells,
        counts::Profile,
        isa::Isa,
        leaf::{
            Command, Identity, Protocol, Scope, SnapshotState, FEATURE_PHASES, FEATURE_SNAPSHOT,
            VERSION,
        },
        phases::Totals,
        query::{Responder, When},
        reason::Kernel,
        throttle::QueryBudget,
    },
    snapshot::Held,
    spread::{Read, Spread, SLOT_SIZE},
    sys::{clock, cpu, memory::Wait},
    vm::Vcpu,
};
use core::ops::Add;

/// The size of a cache line in bytes.
const LINE: usize = 64;

/// The budget that all vCPUs without a profile share.
static SHARED_BUDGET: QueryBudget = QueryBudget::new();

/// The live counters that `scope` selects.
struct Live<'a> {
    scope: Scope,
    host: Host<'a>,
    own: Option<&'a Vcpu>,
}

impl Live<'_> {
    /// Takes what it costs to read `lines` cache lines in each place from the vCPU's
    /// budget. Sleeps if the vCPU has exceeded that.
    fn spend(&self, lines: usize) {
        let budget = match self.own {
            Some(own) => &own.head.budget,
            None => &SHARED_BUDGET,
        };
        let places = match (self.scope, self.own) {
            (Scope::Host, _) => cpu::possible() as usize,
            (Scope::Vm, Some(own)) => own.vm().vcpus().count(),
            // Only the vCPU's task writes its counters, so reading them disturbs nobody.
            _ => 0,
        };
        match budget.take(lines.saturating_mul(places) as u64, clock::now()) {
            0 => (),
            ns => clock::wait(ns),
        }
    }

    /// The cycles in each phase; `None` if phases are not recorded.
    fn phases(&self) -> Option<Totals> {
        if !config::phases() {
            return None;
        }
        let of = |vcpu: &Vcpu| {
            clock::cond_resched();
            vcpu.head.phases.get().map(Phases::totals)
        };
        match (self.scope, self.own) {
            (Scope::Host, _) => {
                self.spend(2);
                Some(self.host.totals())
            }
            (Scope::Vm, Some(own)) => {
                self.spend(Phases::size() / LINE * ATTEMPTS);
                Some(
                    own.vm()
                        .vcpus()
                        .filter_map(of)
                        .fold(Totals::default(), Totals::add),
                )
            }
            (Scope::Vcpu, Some(own)) => of(own),
            (Scope::Vm | Scope::Vcpu, None) => None,
        }
    }
}

impl Spread for Live<'_> {
    /// Sleeps first if the vCPU has exceeded its budget.
    fn each(&self, read: Read, mut with: impl FnMut(Cells<'_>)) {
        self.spend(match read {
            // A counter, and a number of untimed exits.
            Read::One => 2,
            Read::All => {
                let bytes = config::isa().slots().saturating_mul(SLOT_SIZE);
                bytes.saturating_add(LINE - 1) / LINE
            }
        });
        // Reading the counters of another CPU misses the cache many times.
        let with = |cells: Cells<'_>| {
            with(cells);
            clock::cond_resched();
        };
        match (self.scope, self.own) {
            (Scope::Host, _) => self.host.each(read, with),
            (Scope::Vm, Some(own)) => own.vm().each(read, with),
            (Scope::Vcpu, Some(own)) => own.each(read, with),
            (Scope::Vm | Scope::Vcpu, None) => (),
        }
    }
}

/// Answers the queries of the guest on a vCPU.
///
/// # Invariants
///
/// KVM calls the module in the vCPU's task, and waits during `'a`. `live.own` is the
/// vCPU's profile. The vCPU has no other `Guest`.
pub(crate) struct Guest<'a> {
    live: Live<'a>,
    epoch: u32,
}

impl<'a> Guest<'a> {
    /// A responder for the vCPU with profile `own`; `None` if its guest gets no answer.
    ///
    /// # Safety
    ///
    /// The type's invariants hold for `own` and for the lifetime of `call`.
    pub(crate) unsafe fn new(call: &'a impl KeepsHost, own: Option<&'a Vcpu>) -> Option<Guest<'a>> {
        let scope = config::scope()?;
        if scope != Scope::Host && own.is_none() {
            // There was no memory for the vCPU's profile.
            return None;
        }
        // INVARIANT: The caller guarantees it.
        Some(Guest {
            // Read before any counter. So if a reset interferes, the sum has the old
            // epoch, and no reader takes it for one of the new epoch.
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

    /// The snapshot that the vCPU holds, and the answer of leaf E0.
    fn held(&self) -> (Option<&Held>, SnapshotState) {
        let own = match self.live.own {
            Some(own) => own,
            None => return (None, SnapshotState::default()),
        };
        // SAFETY: By the type's invariant, this is the vCPU's task. Only `snapshot()`
        // changes what the vCPU holds, and it borrows `self` exclusively.
        unsafe { own.head.snapshots.get(self.live.scope, self.epoch) }
    }

    /// Takes a snapshot. `None` if there is no memory, or while the counters restart from
    /// zero: such a snapshot would belong to no epoch.
    fn take(&self) -> Option<Held> {
        if self.epoch == 0 {
            return None;
        }
        let block = Owned::try_new((), config::vcpu_slots(), Wait::No).ok()?;
        let sum = block.cells();
        self.live.each(Read::All, |cells| {
            for slot in 0..sum.counters.len() {
                sum.add(slot, cells.slot(slot));
            }
        });
        Some(Held {
            scope: self.live.scope,
            identity: self.current_identity(),
            block,
            phases: self.live.phases(),
        })
    }
}

impl Responder for Guest<'_> {
    fn isa(&self) -> Isa {
        config::isa()
    }

    fn kernel(&self) -> Kernel {
        config::KERNEL
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: VERSION,
            isa: config::isa() as u8,
            scope: self.live.scope as u8,
            features: match (config::per_vcpu(), config::phases()) {
                (false, _) => 0,
                (true, false) => FEATURE_SNAPSHOT,
                (true, true) => FEATURE_SNAPSHOT | FEATURE_PHASES,
            },
            kernel: config::KERNEL as u8,
            epoch: self.epoch,
            tsc_khz: clock::tsc_khz(),
        }
    }

    fn snapshot(&mut self, command: Command) -> SnapshotState {
        let own = self.live.own.filter(|_| config::per_vcpu());
        if let (Some(own), Command::Take | Command::Release) = (own, command) {
            // Release the old snapshot first: a vCPU never holds two.
            // SAFETY: By the type's invariant, this is the vCPU's task. `self` is
            // borrowed exclusively, so the references that `held()` returned are gone.
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

    fn phases(&self, when: When) -> Option<Totals> {
        match when {
            When::Now => self.live.phases(),
            When::Snapshot => self.held().0?.phases,
        }
    }
}
