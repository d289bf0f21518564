// SPDX-License-Identifier: GPL-2.0

//! What is summed up for whom: for the host, and for a guest that asks.

use crate::{
    bindings,
    counters::{Block, Owned, Wait},
    percpu::PerCpu,
    profile::{
        counts::{Counter, Sample, Summed},
        dist::{Distribution, Spread},
        leaf::{self, Command, Protocol, Responder, Scope, Snapshot},
        reason::Isa,
    },
    profiler::{self, isa},
    record,
    vcpu::{self, Meaning, VcpuProfile},
};
use core::{marker::PhantomData, ptr, sync::atomic::Ordering::Relaxed};

/// The host's totals: the counters of all CPUs.
///
/// # Invariants
///
/// The pointer is that of a `PerCpu` of twice [`Isa::slots`] that lives for `'a`, and
/// so do distributions that are in use.
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
    pub(crate) fn cpus(&self) -> impl Iterator<Item = (&'a [Counter], &'a [Counter])> {
        let len = isa().slots();
        // SAFETY: By the type's invariant.
        let arrays = unsafe { PerCpu::arrays(self.0, len.wrapping_mul(2)) };
        arrays.filter_map(move |both: &[Counter]| Some((both.get(..len)?, both.get(len..)?)))
    }

    /// The counters of each CPU for the exits of vCPUs that had no profile.
    fn unattributed_cpus(&self) -> impl Iterator<Item = &'a [Counter]> {
        // Not counted apart if that is all of them.
        let apart = profiler::per_vcpu();
        self.cpus()
            .map(move |(all, unattributed)| if apart { unattributed } else { all })
    }

    /// The exits of vCPUs that had no profile.
    pub(crate) fn unattributed(&self) -> Sample {
        let counters = self.unattributed_cpus().flatten();
        counters.fold(Sample::default(), |sum, counter| sum + counter.load())
    }

    /// Those of `slot`.
    pub(crate) fn unattributed_slot(&self, slot: usize) -> Sample {
        let counters = self.unattributed_cpus().filter_map(|cpu| cpu.get(slot));
        counters.fold(Sample::default(), |sum, counter| sum + counter.load())
    }

    /// How the cycles of the exits of `slot` are distributed, if that is counted.
    pub(crate) fn distribution(&self, slot: usize) -> Option<Distribution> {
        let mut sum = Distribution::default();
        let spreads = self.spreads(slot)?;
        spreads.for_each(|spread| sum.add(&spread.load()));
        Some(sum)
    }

    /// The distribution of `slot` on each CPU.
    fn spreads(&self, slot: usize) -> Option<impl Iterator<Item = &'a Spread>> {
        if slot >= isa().slots() {
            return None;
        }
        let (part, index) = record::place(slot);
        let part = part.load(Relaxed);
        // SAFETY: A part is in use as long as the counters are, and has what is up to
        // the place of any slot at the least.
        let arrays = |part| unsafe { PerCpu::arrays(part, index.wrapping_add(1)) };
        (!part.is_null()).then(|| arrays(part).filter_map(move |cpu: &[Spread]| cpu.get(index)))
    }

    /// Makes all of it zero, while nothing is added.
    pub(crate) fn clear(&self) {
        for (all, unattributed) in self.cpus() {
            all.iter().chain(unattributed).for_each(Counter::clear);
        }
        for slot in 0..isa().slots() {
            self.spreads(slot)
                .into_iter()
                .flatten()
                .for_each(Spread::clear);
        }
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
    epoch: u32,
}

impl<'a> Guest<'a> {
    /// For the guest that runs on `vcpu`; `None` if it is to be told nothing.
    ///
    /// # Safety
    ///
    /// By the type's invariant.
    pub(crate) unsafe fn new(vcpu: *const bindings::kvm_vcpu) -> Option<Guest<'a>> {
        let scope = Scope::from_number(profiler::scope())?;
        // Before any counter, so that what is mixed up by a reset is of neither epoch.
        let epoch = profiler::epoch();
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
            epoch,
        })
    }

    fn meaning(&self) -> Meaning {
        (self.scope, self.epoch)
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
        let held = self.own.map(|own| unsafe { own.snapshot(self.meaning()) });
        held.unwrap_or((None, Snapshot::default()))
    }

    /// A snapshot of all counters, if there is memory, and they are not being set to
    /// zero: that would be of no epoch.
    fn take(&self) -> Option<Owned<()>> {
        if self.epoch == 0 {
            return None;
        }
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
            epoch: self.epoch,
            // SAFETY: An aligned word, which the kernel may refine at any time.
            tsc_khz: unsafe { ptr::read_volatile(ptr::addr_of!(bindings::tsc_khz)) },
        }
    }

    fn snapshot(&mut self, command: Command) -> Snapshot {
        if let (Some(own), Command::Take | Command::Release) = (self.own, command) {
            let block = match command {
                Command::Take => self.take().map(|block| (self.meaning(), block)),
                _ => None,
            };
            // SAFETY: By the type's invariant this is the vCPU's task; what
            // `held()` has returned is gone, for we are borrowed exclusively.
            unsafe { own.set_snapshot(block) };
        }
        self.held().1
    }
}
