// SPDX-License-Identifier: GPL-2.0

//! How a guest reads from a host that counts the reading itself, and to which things happen
//! meanwhile.

use crate::leaves::{CYCLES, Event, Host, State, cpuid};
use exitprof::snapshot::{Origin, Owner, Snapshot};
use exitprof::source::guest::Guest;
use profile::{
    counts::Tally,
    isa::Isa,
    leaf::{FEATURE_SNAPSHOT, Scope},
};
use proptest::prelude::*;

/// The exits of a reason.
fn exits(snapshot: &Snapshot, reason: Option<u32>) -> u64 {
    let mut counters = snapshot.counters.iter();
    counters
        .find(|counter| counter.reason == reason)
        .map_or(0, |counter| counter.exits)
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

        assert_eq!(snapshot.origin, Origin::GuestOfHost);
        assert_eq!((snapshot.epoch, snapshot.tsc_khz), (5, 2_000_000));
        let counter = snapshot
            .counters
            .iter()
            .find(|counter| counter.reason == Some(violation));
        assert_eq!(counter.unwrap().cycles, CYCLES << 40);
        let hidden = snapshot
            .counters
            .iter()
            .find(|counter| counter.owner == Owner::Hidden);
        assert_eq!(
            hidden.unwrap().tally(),
            Tally {
                exits: 7,
                cycles: 7 * CYCLES,
                untimed: 0
            }
        );
        // Leaves 00 and 01 were read again before the snapshot.
        assert_eq!(exits(&snapshot, Some(cpuid(isa))), before + 2);
        let reading = snapshot.reading.unwrap();
        assert!(reading.at_once);
        assert_eq!(reading.before + reading.after, host.cpuids());
        assert_eq!(reading.before, before + 2);
        assert!(!host.0.borrow().holds());
    }
}

#[test]
fn scopes_are_told() {
    for (scope, origin) in [
        (Scope::Host, Origin::GuestOfHost),
        (Scope::Vm, Origin::GuestOfVm),
        (Scope::Vcpu, Origin::GuestOfVcpu),
    ] {
        let snapshot = Host::new(Isa::Vmx, scope).guest().read().unwrap();
        assert_eq!(snapshot.origin, origin);
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

/// Before version 3, leaves of figures answered from anyone's snapshot, and there were no
/// identities.
#[test]
fn older_hosts_are_read_live() {
    for version in [1, 2] {
        let host = Host::new(Isa::Vmx, Scope::Vm).with(|state| state.version = version);
        let mut guest = host.guest();
        host.plan(1, Event::Taken);
        host.plan(6, Event::Exits(48, 9));
        let snapshot = guest.read().unwrap();
        assert_eq!(exits(&snapshot, Some(48)), 9);
        assert_eq!((snapshot.identity, snapshot.epoch), (None, 5));
        let reading = snapshot.reading.unwrap();
        assert!(!reading.at_once);
        assert_eq!(reading.before + reading.after, host.cpuids());
        assert!(!host.0.borrow().holds());
        // After another reader has taken a snapshot, figures would belong to different times.
        for after in 1..40 {
            host.plan(after, Event::Taken);
            let before = exits(&snapshot, Some(10));
            assert!(exits(&guest.read().unwrap(), Some(10)) > before);
        }
    }
}

#[test]
fn newer_hosts_are_refused() {
    let host = Host::new(Isa::Vmx, Scope::Vm).with(|state| state.version = 4);
    let error = Guest::find(host).err().unwrap().to_string();
    assert!(error.contains("protocol has version 4"), "{error}");
}

#[test]
fn what_is_counted_is_told() {
    for lack in [0, FEATURE_SNAPSHOT] {
        let host = Host::new(Isa::Vmx, Scope::Vm).with(|state| state.features ^= lack);
        let mut guest = host.guest();
        let id = |snapshot: &Snapshot| snapshot.identity.unwrap().to_string();
        let first = guest.read().unwrap();
        assert_eq!(id(&first), "feed000000000001");
        assert_eq!(first.boot, guest.read().unwrap().boot);
        assert_eq!(first.boot.map_or(0, |boot| boot.len()), 36);
        host.plan(1, Event::Moved);
        assert_eq!(id(&guest.read().unwrap()), "feed000000000002");
    }
}

#[test]
fn exits_that_were_not_timed_are_told() {
    for version in [2, 3] {
        let host = Host::new(Isa::Vmx, Scope::Vm).with(|state| state.version = version);
        let tally = Tally {
            exits: 1 << 33,
            cycles: 77,
            untimed: 1 << 32,
        };
        host.0.borrow_mut().count(32, tally);
        host.0.borrow_mut().add(48, 3);
        let snapshot = host.guest().read().unwrap();
        let counter =
            |reason| (snapshot.counters.iter()).find(|counter| counter.reason == Some(reason));
        let known = Tally {
            untimed: if version == 3 { 1 << 32 } else { 0 },
            ..tally
        };
        assert_eq!(counter(32).unwrap().tally(), known);
        let all_timed = (version == 3).then_some(0);
        assert_eq!(counter(48).unwrap().untimed, all_timed);
    }
}

#[test]
fn disturbed_readings_are_tried_again() {
    for event in [Event::Taken, Event::Reset, Event::Moved] {
        for after in 1..200 {
            let host = Host::new(Isa::Vmx, Scope::Host);
            host.0.borrow_mut().add(48, 1000);
            let mut guest = host.guest();
            host.plan(after, event);
            let snapshot = guest.read().unwrap();
            let own = |reason| exits(&snapshot, Some(reason));
            let id = snapshot.identity.unwrap().to_string();
            let is_first = snapshot.epoch == 5 && id == "feed000000000001";
            let want = if is_first { 1000 } else { 0 };
            assert_eq!(own(48), want, "{event:?} {after}");
            // A snapshot that others took stays.
            let theirs = matches!(event, Event::Taken) && host.0.borrow().events.is_empty();
            assert!(theirs || !host.0.borrow().holds(), "{event:?} {after}");
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
    assert!(error.contains("another reader on this vCPU"), "{error}");
    host.0.borrow_mut().events.clear();
    guest.read().unwrap();
    host.0.borrow_mut().identity.epoch = 0;
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
    assert!(error.contains("scope has number 4"), "{error}");
}

/// Each run of `exitprof record` is a new reader.
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

    /// Whatever happens meanwhile, a difference has what others did between two snapshots,
    /// and nothing that reading caused.
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
