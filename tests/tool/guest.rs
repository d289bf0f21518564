// SPDX-License-Identifier: GPL-2.0

//! How a guest reads: from a host that counts what the reading itself causes, and
//! to which something happens while it is being read.

use exitprof::snapshot::{Owner, Snapshot, Source};
use exitprof::source::guest::{Cpuid, Guest};
use kvm_exitprof::profile::{
    counts::{Profile, Sample},
    leaf::{self, Command, Protocol, Query, Registers, Responder, Scope},
    reason::Isa,
};
use proptest::prelude::*;
use std::{cell::RefCell, rc::Rc};

/// The cycles of a CPUID.
const CYCLES: u64 = 500;

/// What happens on the host before it answers.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The counters start from zero.
    Reset,
    /// Another on the vCPU takes a snapshot.
    Taken,
    /// The module is unloaded.
    Unload,
    /// Exits of a reason, by someone else.
    Exits(u32, u64),
}

#[derive(Clone)]
struct State {
    isa: Isa,
    counts: Vec<Sample>,
    held: Option<Vec<Sample>>,
    taken: u32,
    epoch: u32,
    features: u32,
    scope: u8,
    loaded: bool,
    /// There is no memory for snapshots.
    poor: bool,
    asked: u64,
    /// The CPUIDs of others, when the guest took its last snapshot.
    others: u64,
    /// What happens before which question.
    events: Vec<(u64, Event)>,
}

impl Profile for State {
    fn isa(&self) -> Isa {
        self.isa
    }

    fn slot(&self, slot: usize) -> Sample {
        self.held.as_ref().unwrap_or(&self.counts)[slot]
    }
}

impl Responder for State {
    fn protocol(&self) -> Protocol {
        Protocol {
            version: leaf::VERSION,
            isa: self.isa as u8,
            scope: self.scope,
            features: self.features,
            epoch: self.epoch,
            tsc_khz: 2_000_000,
        }
    }

    fn snapshot(&mut self, command: Command) -> leaf::Snapshot {
        match command {
            Command::Release => self.held = None,
            Command::Take if !self.poor => {
                self.held = Some(self.counts.clone());
                self.taken += 1;
            }
            _ => (),
        }
        leaf::Snapshot {
            held: self.held.is_some(),
            taken: self.taken,
        }
    }
}

impl State {
    fn add(&mut self, reason: u32, exits: u64) {
        let cycles = exits * CYCLES;
        let counter = &mut self.counts[self.isa.slot(reason)];
        *counter = *counter + Sample { exits, cycles };
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reset => {
                self.counts.fill(Sample::default());
                self.held = None;
                self.epoch += 1;
            }
            Event::Taken => _ = self.snapshot(Command::Take),
            Event::Unload => self.loaded = false,
            Event::Exits(reason, exits) => self.add(reason, exits),
        }
    }
}

#[derive(Clone)]
struct Host(Rc<RefCell<State>>);

impl Host {
    fn new(isa: Isa, scope: Scope) -> Host {
        let counts = vec![Sample::default(); isa.slots()];
        let state = State {
            isa,
            counts,
            held: None,
            taken: u32::MAX / 2,
            epoch: 5,
            features: leaf::FEATURE_SNAPSHOT,
            scope: scope as u8,
            loaded: true,
            poor: false,
            asked: 0,
            others: 0,
            events: Vec::new(),
        };
        Host(Rc::new(RefCell::new(state)))
    }

    fn with(self, change: impl FnOnce(&mut State)) -> Host {
        change(&mut self.0.borrow_mut());
        self
    }

    /// So many questions from now on, something happens.
    fn plan(&self, after: u64, event: Event) {
        let mut state = self.0.borrow_mut();
        let at = state.asked + after;
        state.events.push((at, event));
    }

    fn guest(&self) -> Guest<Host> {
        Guest::find(self.clone()).unwrap()
    }

    fn cpuids(&self) -> u64 {
        let state = self.0.borrow();
        state.counts[state.isa.slot(cpuid(state.isa))].exits
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
        if (eax, ecx) == (leaf::SNAPSHOT, Command::Take as u32) {
            let all = state.counts[state.isa.slot(cpuid(state.isa))].exits;
            state.others = all.wrapping_sub(asked - 1); // After a reset, it means nothing.
        }
        let answer = match Query::new(eax, ecx).filter(|_| state.loaded) {
            Some(query) => query.answer(&mut *state).into(),
            None => Registers {
                eax: 7,
                ..Registers::default()
            },
        };
        let reason = cpuid(state.isa);
        state.add(reason, 1);
        answer
    }
}

fn cpuid(isa: Isa) -> u32 {
    match isa {
        Isa::Vmx => 10,
        Isa::Svm => 0x72,
    }
}

/// The exits of a reason.
fn exits(snapshot: &Snapshot, reason: Option<u32>) -> u64 {
    let mut rows = snapshot.rows.iter();
    rows.find(|row| row.reason == reason)
        .map_or(0, |row| row.exits)
}

#[test]
fn a_snapshot_is_read_and_released() {
    for (isa, violation, unhandled) in [(Isa::Vmx, 48, 11), (Isa::Svm, 0x400, 0x40)] {
        let host = Host::new(isa, Scope::Host);
        host.0.borrow_mut().add(violation, 1 << 40);
        host.0.borrow_mut().add(unhandled, 3);
        host.0.borrow_mut().add(0xdead, 4);
        let mut guest = host.guest();
        let before = host.cpuids();
        let snapshot = guest.read().unwrap();

        assert_eq!(snapshot.source, Source::GuestOfHost);
        assert_eq!((snapshot.epoch, snapshot.tsc_khz), (5, 2_000_000));
        let row = snapshot
            .rows
            .iter()
            .find(|row| row.reason == Some(violation));
        assert_eq!(row.unwrap().sample().cycles, CYCLES << 40);
        let hidden = snapshot.rows.iter().find(|row| row.owner == Owner::Hidden);
        assert_eq!(
            hidden.unwrap().sample(),
            Sample {
                exits: 7,
                cycles: 7 * CYCLES
            }
        );
        // The questions after discovery and before the snapshot: 00 and 01.
        assert_eq!(exits(&snapshot, Some(cpuid(isa))), before + 2);
        let reading = snapshot.reading.unwrap();
        assert!(reading.at_once);
        assert_eq!(reading.before + reading.after, host.cpuids());
        assert_eq!(reading.before, before + 2);
        assert!(host.0.borrow().held.is_none());
    }
}

#[test]
fn scopes_are_told() {
    for (scope, source) in [
        (Scope::Host, Source::GuestOfHost),
        (Scope::Vm, Source::GuestOfVm),
        (Scope::Vcpu, Source::GuestOfVcpu),
    ] {
        let snapshot = Host::new(Isa::Vmx, scope).guest().read().unwrap();
        assert_eq!(snapshot.source, source);
    }
}

#[test]
fn without_snapshots_figures_are_read_one_by_one() {
    let lacking: [fn(&mut State); 2] = [|state| state.features = 0, |state| state.poor = true];
    for lack in lacking {
        let host = Host::new(Isa::Vmx, Scope::Vm).with(lack);
        let mut guest = host.guest();
        let first = guest.read().unwrap();
        assert!(!first.reading.unwrap().at_once);
        host.0.borrow_mut().add(10, 23);
        let delta = guest.read().unwrap().since(&first).unwrap();
        assert_eq!(exits(&delta, Some(10)), 23);
    }
}

#[test]
fn disturbed_readings_are_tried_again() {
    for event in [Event::Taken, Event::Reset] {
        for after in 1..200 {
            let host = Host::new(Isa::Vmx, Scope::Host);
            host.0.borrow_mut().add(48, 1000);
            let mut guest = host.guest();
            host.plan(after, event);
            let snapshot = guest.read().unwrap();
            let own = |reason| exits(&snapshot, Some(reason));
            let epoch = snapshot.epoch;
            let want = if epoch == 5 { 1000 } else { 0 };
            assert_eq!(own(48), want, "{event:?} {after}");
            // What others have taken is theirs.
            let theirs = matches!(event, Event::Taken) && host.0.borrow().events.is_empty();
            assert!(
                theirs || host.0.borrow().held.is_none(),
                "{event:?} {after}"
            );
        }
    }
}

#[test]
fn a_reading_that_is_always_disturbed_is_given_up() {
    let host = Host::new(Isa::Vmx, Scope::Host);
    let mut guest = host.guest();
    (1..10_000)
        .step_by(5)
        .for_each(|after| host.plan(after, Event::Taken));
    let error = guest.read().unwrap_err().to_string();
    assert!(error.contains("another on this vCPU"), "{error}");
    host.0.borrow_mut().events.clear();
    guest.read().unwrap();
    host.0.borrow_mut().epoch = 0;
    let error = guest.read().unwrap_err().to_string();
    assert!(error.contains("starting from zero"), "{error}");
}

#[test]
fn a_module_that_goes_and_comes_back_is_survived() {
    let host = Host::new(Isa::Svm, Scope::Host);
    let mut guest = host.guest();
    host.plan(20, Event::Unload);
    guest.read().unwrap_err();
    let error = guest.read().unwrap_err().to_string();
    assert!(error.contains("no kvm_exitprof loaded"), "{error}");
    host.0.borrow_mut().loaded = true;
    guest.read().unwrap();
}

#[test]
fn what_is_not_known_is_an_error() {
    let absent = Host::new(Isa::Vmx, Scope::Host).with(|state| state.loaded = false);
    assert!(Guest::find(absent).is_err());
    let host = Host::new(Isa::Vmx, Scope::Host).with(|state| state.scope = 4);
    let error = Guest::find(host).err().unwrap().to_string();
    assert!(error.contains("scope of number 4"), "{error}");
}

/// Each run of `exitprof record` is a reader of its own.
#[test]
fn the_reading_of_two_runs_is_left_out() {
    let host = Host::new(Isa::Vmx, Scope::Host);
    let first = host.guest().read().unwrap();
    host.0.borrow_mut().add(10, 5);
    std::thread::sleep(std::time::Duration::from_millis(1));
    let second = host.guest().read().unwrap();
    assert_eq!(exits(&second.since(&first).unwrap(), Some(10)), 5);
}

proptest! {
    #![proptest_config(crate::host::cases())]

    /// Whatever happens meanwhile: what others do between two snapshots is what the
    /// difference says, and nothing of the reading's own.
    #[test]
    fn differences_hold_the_exits_of_others_alone(
        others in prop::collection::vec((1_u64..500, any_reason(), 0_u64..1000), 0..20),
        disturbed in prop::option::of(1_u64..200),
        between in 0_u64..1000,
    ) {
        let host = Host::new(Isa::Vmx, Scope::Vcpu);
        for (after, reason, exits) in others {
            host.plan(after, Event::Exits(reason, exits));
        }
        if let Some(after) = disturbed {
            host.plan(after, Event::Taken);
        }
        let mut guest = host.guest();
        let first = guest.read().unwrap();
        let others_first = host.0.borrow().others;
        let (mut before, mut others_before) = (first.clone(), others_first);
        for _ in 0..4 {
            host.0.borrow_mut().add(10, between);
            let now = guest.read().unwrap();
            let others_now = host.0.borrow().others;
            let delta = now.since(&before).unwrap();
            prop_assert_eq!(exits(&delta, Some(10)), others_now - others_before);
            (before, others_before) = (now, others_now);
        }
        let all = before.since(&first).unwrap();
        prop_assert_eq!(exits(&all, Some(10)), others_before - others_first);
    }
}

fn any_reason() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0, 10, 48, 11])
}
