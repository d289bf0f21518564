// SPDX-License-Identifier: GPL-2.0

//! A host that answers the leaves and counts each query. Events may happen before it
//! answers.

use exitprof::source::{guest::Guest, leaves::Cpuid};
use profile::{
    counts::{Profile, Tally},
    isa::Isa,
    leaf::{self, Command, Identity, Protocol, Registers, Scope},
    phases::Totals,
    query::{Figure, Query, Responder, When},
    reason::Kernel,
};
use std::{cell::RefCell, rc::Rc};

/// The cycles of a CPUID.
pub const CYCLES: u64 = 500;

/// What happens on the host before it answers.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// The counters start from zero.
    Reset,
    /// Another reader on the vCPU takes a snapshot.
    Taken,
    /// The guest migrates: the counters are another VM's.
    Moved,
    /// The module is unloaded.
    Unload,
    /// Someone else causes exits of a reason.
    Exits(u32, u64),
}

/// What is counted, by slot.
#[derive(Clone)]
pub struct Counts(Vec<Tally>);

impl Profile for Counts {
    fn sum(&self, wanted: &dyn Fn(usize) -> bool) -> Tally {
        let slots = (0..self.0.len()).filter(|&slot| wanted(slot));
        slots.fold(Tally::default(), |sum, slot| sum + self.0[slot])
    }
}

/// The host's state.
pub struct State {
    pub isa: Isa,
    counts: Counts,
    held: Option<(Identity, Counts)>,
    taken: u32,
    pub version: u16,
    pub identity: Identity,
    pub features: u8,
    /// Where the time went, if phases are recorded.
    pub phases: Option<Totals>,
    pub scope: u8,
    pub loaded: bool,
    /// There is no memory for snapshots.
    pub poor: bool,
    asked: u64,
    /// The CPUIDs of others when the guest last took a snapshot.
    pub others: u64,
    /// What happens before which query.
    pub events: Vec<(u64, Event)>,
}

impl Responder for State {
    fn isa(&self) -> Isa {
        self.isa
    }

    fn kernel(&self) -> Kernel {
        Kernel::V6_1
    }

    fn protocol(&self) -> Protocol {
        Protocol {
            version: self.version,
            isa: self.isa as u8,
            scope: self.scope,
            features: self.features,
            kernel: Kernel::V6_1 as u8,
            epoch: self.identity.epoch,
            tsc_khz: 2_000_000,
        }
    }

    fn snapshot(&mut self, command: Command) -> leaf::SnapshotState {
        match command {
            Command::Release => self.held = None,
            Command::Take if !self.poor => {
                self.held = Some((self.identity, self.counts.clone()));
                self.taken += 1;
            }
            _ => (),
        }
        leaf::SnapshotState {
            held: self.held.is_some(),
            taken: self.taken,
        }
    }

    fn identity(&self, when: When) -> Option<Identity> {
        match when {
            When::Now => Some(self.identity),
            When::Snapshot => self.held.as_ref().map(|held| held.0),
        }
    }

    fn profile(&self, when: When) -> Option<&dyn Profile> {
        match when {
            When::Now => Some(&self.counts),
            When::Snapshot => self.held.as_ref().map(|held| &held.1 as &dyn Profile),
        }
    }

    fn phases(&self, when: When) -> Option<Totals> {
        match when {
            When::Now => self.phases,
            When::Snapshot => self.held.as_ref().and(self.phases),
        }
    }
}

impl State {
    /// Adds exits of [`CYCLES`] each.
    pub fn add(&mut self, reason: u32, exits: u64) {
        self.count(
            reason,
            Tally {
                exits,
                cycles: exits * CYCLES,
                untimed: 0,
            },
        );
    }

    pub fn count(&mut self, reason: u32, more: Tally) {
        let counter = &mut self.counts.0[self.isa.slot(reason)];
        *counter = *counter + more;
    }

    /// Whether the vCPU holds a snapshot.
    pub fn holds(&self) -> bool {
        self.held.is_some()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reset => {
                self.counts.0.fill(Tally::default());
                self.held = None;
                self.identity.epoch += 1;
            }
            Event::Taken => _ = self.snapshot(Command::Take),
            Event::Moved => {
                self.counts.0.fill(Tally::default());
                self.held = None;
                self.identity.id += 1;
            }
            Event::Unload => self.loaded = false,
            Event::Exits(reason, exits) => self.add(reason, exits),
        }
    }

    /// Answers in its version of the protocol. Before 3, leaf 03 stands for those from E0 on,
    /// and all leaves of figures answer from the snapshot that is held.
    fn answer(&mut self, eax: u32, ecx: u32) -> Registers {
        let nothing = Registers::default();
        let is_old = self.version < 3;
        let Some(query) = Query::new(eax, ecx).filter(|_| self.loaded) else {
            return Registers { eax: 7, ..nothing };
        };
        match query {
            Query::Unassigned if is_old && eax == 0x4fff_ff03 => {
                Query::Snapshot { command: ecx }.answer(self).into()
            }
            Query::Figure(When::Now, Figure::Identity | Figure::Untimed { .. })
            | Query::Figure(When::Snapshot, _)
            | Query::Snapshot { .. }
                if is_old =>
            {
                nothing
            }
            Query::Figure(When::Now, figure) if is_old && self.holds() => {
                Query::Figure(When::Snapshot, figure).answer(self).into()
            }
            query => query.answer(self).into(),
        }
    }
}

#[derive(Clone)]
pub struct Host(pub Rc<RefCell<State>>);

impl Host {
    pub fn new(isa: Isa, scope: Scope) -> Host {
        let state = State {
            isa,
            counts: Counts(vec![Tally::default(); isa.slots()]),
            held: None,
            taken: u32::MAX / 2,
            version: leaf::VERSION,
            identity: Identity {
                id: 0xfeed_0000_0000_0001,
                epoch: 5,
            },
            features: leaf::FEATURE_SNAPSHOT,
            phases: None,
            scope: scope as u8,
            loaded: true,
            poor: false,
            asked: 0,
            others: 0,
            events: Vec::new(),
        };
        Host(Rc::new(RefCell::new(state)))
    }

    pub fn with(self, change: impl FnOnce(&mut State)) -> Host {
        change(&mut self.0.borrow_mut());
        self
    }

    /// Plans an event, so many queries from now.
    pub fn plan(&self, after: u64, event: Event) {
        let mut state = self.0.borrow_mut();
        let at = state.asked + after;
        state.events.push((at, event));
    }

    pub fn guest(&self) -> Guest<Host> {
        Guest::find(self.clone()).unwrap()
    }

    pub fn cpuids(&self) -> u64 {
        let state = self.0.borrow();
        state.counts.slot(state.isa.slot(cpuid(state.isa))).exits
    }
}

impl Cpuid for Host {
    fn cpuid(&mut self, eax: u32, ecx: u32) -> Registers {
        let mut state = self.0.borrow_mut();
        state.asked += 1;
        let asked = state.asked;
        let (now, later) = state.events.drain(..).partition(|&(at, _)| at == asked);
        state.events = later;
        let now: Vec<(u64, Event)> = now;
        now.into_iter().for_each(|(_, event)| state.happen(event));
        let reason = cpuid(state.isa);
        if (eax, ecx) == (leaf::SNAPSHOT, Command::Take as u32) {
            let all = state.counts.slot(state.isa.slot(reason)).exits;
            state.others = all.wrapping_sub(asked - 1); // Meaningless after a reset.
        }
        let answer = state.answer(eax, ecx);
        state.add(reason, 1);
        answer
    }
}

/// The reason of a CPUID.
pub fn cpuid(isa: Isa) -> u32 {
    match isa {
        Isa::Vmx => 10,
        Isa::Svm => 0x72,
    }
}
