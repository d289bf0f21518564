// SPDX-License-Identifier: GPL-2.0

//! The screen of `exitprof top` that shows what is behind a reason.

use super::{SETTINGS, key, names, press, read, screen};
use crate::growing::Growing;
use exitprof::{
    commands::top::state::{Order, Overlay, State},
    select::{By, Level},
    snapshot::{
        Snapshot,
        detail::{Detail, Entry, Hex, Nested, Place},
    },
};
use profile::detail::{Code, Kind};
use ratatui::crossterm::event::KeyCode;

/// A reading whose CPUIDs have details and places: half of them are of leaf 1, a quarter of
/// leaf 7, and the others have no entry.
pub fn detailed(counts: Growing) -> Snapshot {
    let mut snapshot = read(counts);
    snapshot.detail_kinds = vec![Kind::Cpuid];
    snapshot.code = Some(Code::Exact);
    let vcpus = snapshot.counters.iter().filter(|counter| {
        counter.reason == Some(10) && counter.owner != exitprof::snapshot::Owner::All
    });
    for counter in vcpus {
        for (number, part) in [(1, 2), (7, 4)] {
            let (exits, cycles) = (counter.exits / part, counter.cycles / part);
            snapshot.details.push(Entry {
                owner: counter.owner.clone(),
                reason: counter.reason,
                name: counter.name.clone(),
                key: Detail {
                    kind: Kind::Cpuid,
                    level: 1,
                    key: Hex(number),
                },
                exits,
                cycles,
                error: 0,
            });
            snapshot.places.push(Entry {
                owner: counter.owner.clone(),
                reason: counter.reason,
                name: counter.name.clone(),
                key: Place {
                    level: 1,
                    rip: Hex(number << 12),
                    cpl: 3,
                },
                exits,
                cycles,
                error: 0,
            });
        }
    }
    snapshot
}

/// The state after three readings, two seconds apart.
fn watched() -> State {
    let counts = Growing::new();
    let mut state = State::new(detailed(counts), Order::Rate, &[]).unwrap();
    state.take(Ok(detailed(counts.later(2))));
    state.take(Ok(detailed(counts.later(4))));
    state
}

#[test]
fn enter_shows_the_details_of_a_reason() {
    let mut state = watched();
    assert_eq!(names(&state), ["CPUID", "HLT"]);
    press(&mut state, &[KeyCode::Enter]);
    assert_eq!(
        names(&state),
        ["0x1 features", "0x7.0x0 features", "others"]
    );
    let exits: Vec<u128> = state.rows.iter().map(|row| row.since.exits).collect();
    assert_eq!(exits, [2000, 1000, 1000]);
    let rates: Vec<_> = state.rows.iter().map(|row| row.rate.unwrap()).collect();
    assert_eq!(rates, [500.0, 250.0, 250.0]);
    insta::assert_snapshot!("details_on_80x12", screen(&state, 80, 12, SETTINGS));
    press(&mut state, &[KeyCode::Esc]);
    assert_eq!(names(&state), ["CPUID", "HLT"]);
    // HLT has none.
    press(&mut state, &[KeyCode::Down, KeyCode::Enter]);
    assert!(matches!(&state.overlay, Some(Overlay::Histogram(key)) if &*key.name == "HLT"));
}

#[test]
fn a_key_shows_the_histogram_of_a_reason() {
    let mut state = watched();
    press(&mut state, &[key('h')]);
    assert!(matches!(&state.overlay, Some(Overlay::Histogram(key)) if &*key.name == "CPUID"));
    press(&mut state, &[KeyCode::Esc, KeyCode::Enter, key('h')]);
    assert_eq!(state.overlay, None);
    assert_eq!(
        state.notice.as_deref(),
        Some("Only reasons have histograms.")
    );
}

#[test]
fn details_are_those_of_the_vm_that_is_shown() {
    let mut state = watched();
    press(&mut state, &[key('v'), KeyCode::Enter, KeyCode::Enter]);
    assert_eq!(state.selection().by, By::Detail);
    assert!(!state.selection().vms.is_empty());
    assert_eq!(
        names(&state),
        ["0x1 features", "0x7.0x0 features", "others"]
    );
    // From there, back to reasons.
    press(&mut state, &[key('v')]);
    assert_eq!(state.selection().by, By::Reason);
    assert!(names(&state).contains(&"CPUID"));
}

#[test]
fn details_start_from_a_new_baseline() {
    let mut state = watched();
    press(&mut state, &[KeyCode::Enter, key('b')]);
    assert!(state.rows.is_empty(), "{:?}", names(&state));
    state.take(Ok(detailed(Growing::new().later(6))));
    let exits: Vec<u128> = state.rows.iter().map(|row| row.since.exits).collect();
    assert_eq!(exits, [1000, 500, 500]);
}

#[test]
fn code_is_listed_if_it_is_recorded() {
    let mut state = watched();
    state.group(By::Rip).unwrap();
    assert_eq!(
        names(&state),
        ["0x1000 (CPL 3)", "0x7000 (CPL 3)", "others"]
    );
    let mut state = super::watched(Growing::new());
    let error = state.group(By::Rip).unwrap_err().to_string();
    assert!(error.contains("parameters/code"), "{error}");
    assert_eq!(names(&state), ["CPUID", "HLT"]);
}

/// A reading in which half of the exits of HLT are of L2, and an eighth was reflected.
fn nested(counts: Growing) -> Snapshot {
    let mut snapshot = detailed(counts);
    for counter in &mut snapshot.counters {
        let is_part = counter.owner != exitprof::snapshot::Owner::All;
        if is_part && counter.reason == Some(12) {
            counter.set_nested(Nested {
                l2: counter.exits / 2,
                l2_cycles: counter.cycles / 2,
                reflected: counter.exits / 8,
                reflected_cycles: counter.cycles / 8,
            });
        }
    }
    snapshot
}

#[test]
fn a_key_shows_exits_by_level() {
    let counts = Growing::new();
    let mut state = State::new(nested(counts), Order::Rate, &[]).unwrap();
    state.take(Ok(nested(counts.later(2))));
    state.take(Ok(nested(counts.later(4))));
    let rows = |state: &State| {
        let rows = state.rows.iter();
        let rows = rows.map(|row| (row.since.name.to_string(), row.since.exits, row.rate));
        rows.collect::<Vec<_>>()
    };
    let row = |name: &str, exits, rate| (name.to_owned(), exits, Some(rate));
    let (cpuid, hlt) = (row("CPUID", 4000, 1000.0), row("HLT", 800, 200.0));
    let all = vec![cpuid.clone(), hlt];
    assert_eq!(rows(&state), all);
    for (title, want) in [
        ("from L1 ", vec![cpuid, row("HLT", 400, 100.0)]),
        ("from L2 ", vec![row("HLT", 400, 100.0)]),
        ("from L2, given to L1, ", vec![row("HLT", 100, 25.0)]),
        ("", all),
    ] {
        press(&mut state, &[key('l')]);
        assert_eq!(rows(&state), want);
        let screen = screen(&state, 80, 12, SETTINGS);
        let title = format!("Exits {title}of all guests");
        assert!(screen.contains(&title), "{screen}");
    }
    // The level stays in other lists; of details, it is not known what was reflected.
    press(&mut state, &[key('l'), KeyCode::Enter]);
    assert_eq!(state.selection().by, By::Detail);
    assert_eq!(state.selection().level, Some(Level::L1));
    press(&mut state, &[key('l'), key('l')]);
    assert_eq!(state.selection().level, None);
    assert_eq!(
        names(&state),
        ["0x1 features", "0x7.0x0 features", "others"]
    );
    let into_a_vm = [KeyCode::Esc, key('l'), key('v'), KeyCode::Enter];
    press(&mut state, &into_a_vm);
    assert_eq!(state.selection().vms, ["412-11"]);
    assert_eq!(state.selection().level, Some(Level::L1));
}

#[test]
fn levels_that_are_not_told_apart_are_not_chosen() {
    let counts = Growing::new();
    let mut state = super::watched(counts);
    press(&mut state, &[key('l')]);
    assert!(state.notice.as_deref().unwrap().contains("per_vcpu=1"));
    assert_eq!(state.selection().level, None);
    assert!(state.choose_level(Some(Level::L2)).is_err());

    // Nor those of a module that is loaded later.
    let mut state = watched();
    press(&mut state, &[key('l')]);
    assert_eq!(state.selection().level, Some(Level::L1));
    let other = Growing { epoch: 8, ..counts };
    state.take(Ok(read(other)));
    state.take(Ok(read(other.later(2))));
    assert_eq!(state.selection().level, None);
    assert!(state.notice.as_deref().unwrap().contains("per_vcpu=1"));
    assert_eq!(names(&state), ["CPUID", "HLT"]);
}
