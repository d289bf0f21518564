// SPDX-License-Identifier: GPL-2.0

//! The screen of `exitprof top` that shows what is behind a reason.

use super::{SETTINGS, key, names, press, read, screen};
use crate::growing::Growing;
use exitprof::{
    commands::top::state::{Order, Overlay, State},
    select::By,
    snapshot::{
        Snapshot,
        detail::{Detail, Entry, Hex, Place},
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
