// SPDX-License-Identifier: GPL-2.0

//! What is summed up for whom: for the host, and for a guest that asks.

use crate::{
    bindings,
    counters::{Block, Owned, Wait},
    percpu::PerCpu,
    profile::{
        counts::{Counter, Sample, Summed},
        leaf::{self, Command, Protocol, Responder, Scope, Snapshot},
        reason::Isa,
    },
    profiler::{self, isa},
    vcpu::{self, VcpuProfile},
};
use core::{marker::PhantomData, ptr};

/// The host's totals: the counters of all CPUs.
///
/// # Invariants
///
/// The pointer is that of a `PerCpu` of twice [`Isa::slots`] that lives for `'a`.
pub(crate) struct Totals<'a>(*mut Counter, PhantomData<&'a Counter>);

impl<'a> Totals<'a> {
    /// Those of such a `PerCpu`.
    ///
    /// # Safety
    ///
    /// By the type's invariant.
    pub(crate) unsafe fn new(counters: *mut Counter) -> Totals<'a> {
        Totals(counters, PhantomData)
    }

    /// The counters of each CPU: of all exits, and of those unattributed.
    fn cpus(&self) -> impl Iterator<Item = (&'a [Counter], &'a [Counter])> {
        let len = isa().slots();
        // SAFETY: By the type's invariant.
        let arrays = unsafe { PerCpu::arrays(self.0, len.wrapping_mul(2)) };
        arrays.filter_map(move |both: &[Counter]| Some((both.get(..len)?, both.get(len..)?)))
    }

    /// The exits of vCPUs that had no profile.
    pub(crate) fn unattributed(&self) -> Sample {
        let counters = self.cpus().flat_map(|(all, unattributed)| {
            // Not counted apart if that is all of them.
            if profiler::per_vcpu() {
                unattributed
            } else {
                all
            }
        });
        counters.fold(Sample::default(), |sum, counter| sum + counter.load())
    }
}

impl Summed for Totals<'_> {
    fn isa(&self) -> Isa {
        isa()
    }

    fn each(&self, mut with: impl FnMut(&[Counter])) {
        self.cpus().for_each(|(all, _)| with(all));
    }
}

/// What a guest that asks is told, which is about itself or about the host.
///
/// # Invariants
///
/// `vcpu` is one for which KVM calls us in its task, and waits for `'a`; there is
/// no other `Guest` of it.
pub(crate) struct Guest<'a> {
    vcpu: *const bindings::kvm_vcpu,
    totals: Totals<'a>,
    own: Option<&'a VcpuProfile>,
    scope: Scope,
}

impl<'a> Guest<'a> {
    /// For the guest that runs on `vcpu`; `None` if it is to be told nothing.
    ///
    /// # Safety
    ///
    /// By the type's invariant.
    pub(crate) unsafe fn new(vcpu: *const bindings::kvm_vcpu) -> Option<Guest<'a>> {
        let scope = Scope::from_number(profiler::scope())?;
        // SAFETY: By the caller's promise.
        let (totals, own) = unsafe { (profiler::totals()?, vcpu::profile(vcpu)) };
        if scope != Scope::Host && own.is_none() {
            // There was no memory to count its exits apart.
            return None;
        }
        // INVARIANT: By the caller's promise.
        Some(Guest {
            vcpu,
            totals,
            own,
            scope,
        })
    }

    /// Calls `with` for the counters as they are.
    fn live(&self, mut with: impl FnMut(&[Counter])) {
        match (self.scope, self.own) {
            (Scope::Host, _) => self.totals.each(with),
            // SAFETY: By the type's invariant.
            (Scope::Vm, _) => unsafe { vcpu::of_vm(self.vcpu, |profile| profile.each(&mut with)) },
            (Scope::Vcpu, Some(own)) => own.each(with),
            (Scope::Vcpu, None) => (),
        }
    }

    /// What the vCPU holds.
    fn held(&self) -> (Option<&Block<()>>, Snapshot) {
        // SAFETY: By the type's invariant this is the vCPU's task. It is changed
        // by `snapshot()` alone, which borrows us exclusively.
        let held = self.own.map(|own| unsafe { own.snapshot(self.scope) });
        held.unwrap_or((None, Snapshot::default()))
    }

    /// A snapshot of all counters, if there is memory.
    fn take(&self) -> Option<Owned<()>> {
        let block = Owned::try_new((), Wait::No).ok()?;
        self.live(|counters| {
            let pairs = block.counters.iter().zip(counters);
            pairs.for_each(|(to, from)| to.add(from.load()));
        });
        Some(block)
    }
}

impl Summed for Guest<'_> {
    fn isa(&self) -> Isa {
        isa()
    }

    fn each(&self, with: impl FnMut(&[Counter])) {
        match self.held() {
            (Some(block), _) => block.each(with),
            (None, _) => self.live(with),
        }
    }
}

impl Responder for Guest<'_> {
    fn protocol(&self) -> Protocol {
        Protocol {
            version: leaf::VERSION,
            isa: isa() as u8,
            scope: self.scope as u8,
            features: if profiler::per_vcpu() {
                leaf::FEATURE_SNAPSHOT
            } else {
                0
            },
            epoch: profiler::epoch(),
            // SAFETY: An aligned word, which the kernel may refine at any time.
            tsc_khz: unsafe { ptr::read_volatile(ptr::addr_of!(bindings::tsc_khz)) },
        }
    }

    fn snapshot(&mut self, command: Command) -> Snapshot {
        if let (Some(own), Command::Take | Command::Release) = (self.own, command) {
            let block = match command {
                Command::Take => self.take().map(|block| (self.scope, block)),
                _ => None,
            };
            // SAFETY: By the type's invariant this is the vCPU's task; what
            // `held()` has returned is gone, for we are borrowed exclusively.
            unsafe { own.set_snapshot(block) };
        }
        self.held().1
    }
}
