// SPDX-License-Identifier: GPL-2.0

//! The screen of `exitprof top`: what it shows after readings and keys.

mod any_keys;
mod details;
mod phases;
mod vms;

use crate::growing::Growing;
use anyhow::anyhow;
use exitprof::{
    commands::top::{
        screen::{Settings, draw},
        state::{Order, Overlay, State},
    },
    select::{By, Sort},
    snapshot::{Counter, Origin, Snapshot, id::Id},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};

const SETTINGS: Settings = Settings { cycles: false };

fn read(counts: Growing) -> Snapshot {
    Snapshot::from_text(&counts.profile()).unwrap()
}

/// The state after three readings, two seconds apart.
fn watched(counts: Growing) -> State {
    let mut state = State::new(read(counts), Order::Rate, &[]).unwrap();
    state.take(Ok(read(counts.later(2))));
    state.take(Ok(read(counts.later(4))));
    state
}

fn press(state: &mut State, keys: &[KeyCode]) {
    for &key in keys {
        assert!(state.press(key.into()).is_continue(), "{key:?} quits");
    }
}

fn key(key: char) -> KeyCode {
    KeyCode::Char(key)
}

/// The screen, without trailing blanks.
fn screen(state: &State, width: u16, height: u16, settings: Settings) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, settings)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(width.into()).map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn names(state: &State) -> Vec<&str> {
    (state.rows.iter().map(|row| &*row.since.name)).collect()
}

#[test]
fn rates_are_of_the_last_interval_and_the_rest_since_the_baseline() {
    let state = watched(Growing::new());
    let cpuid = &state.rows[0];
    assert_eq!(&*cpuid.since.name, "CPUID");
    assert_eq!(cpuid.rate, Some(1000.0));
    assert_eq!(cpuid.since.exits, 4000);
    assert_eq!(cpuid.since.avg, Some(600.0));
    assert_eq!(state.total.map(|(rate, _)| rate), Some(1200.0));
}

#[test]
fn keys_choose_what_is_sorted_by() {
    let mut state = watched(Growing::new());
    assert_eq!(names(&state), ["CPUID", "HLT"]);
    press(&mut state, &[key('s'), key('>')]);
    assert_eq!(state.order, Order::By(Sort::Time));
    assert_eq!(names(&state), ["HLT", "CPUID"]);
    press(&mut state, &[key('<'), key('<'), key('<')]);
    assert_eq!(state.order, Order::By(Sort::Reason));
    press(&mut state, &[key('s')]);
    assert_eq!(state.order, Order::Rate);
    press(&mut state, &[key('r')]);
    assert_eq!(names(&state), ["HLT", "CPUID"]);
    press(&mut state, &[key('r')]);
    assert_eq!(names(&state), ["CPUID", "HLT"]);
}

#[test]
fn a_rate_may_differ_from_what_was_counted_since_the_baseline() {
    let counts = Growing::new();
    let mut state = watched(counts);
    let mut last = read(counts.later(5));
    // Nothing but HLT in the last interval.
    let before = read(counts.later(4));
    for counter in last
        .counters
        .iter_mut()
        .filter(|counter| &*counter.name == "CPUID")
    {
        let same = |old: &&Counter| old.owner == counter.owner && old.reason == counter.reason;
        *counter = before.counters.iter().find(same).unwrap().clone();
    }
    state.take(Ok(last));
    assert_eq!(names(&state), ["HLT", "CPUID"]);
    assert_eq!(state.rows[1].rate, Some(0.0));
    assert_eq!(state.rows[1].since.exits, 4000);
}

#[test]
fn the_cursor_stays_on_its_row() {
    let mut state = watched(Growing::new());
    press(&mut state, &[KeyCode::Down, KeyCode::Down]);
    assert_eq!(state.cursor(), 1);
    press(&mut state, &[key('s'), key('s')]);
    assert_eq!(names(&state)[state.cursor()], "HLT");
    press(&mut state, &[KeyCode::End, KeyCode::Home, KeyCode::Enter]);
    let Some(Overlay::Histogram(key)) = &state.overlay else {
        panic!("{:?}", state.overlay);
    };
    assert_eq!(&*key.name, "HLT");
}

#[test]
fn the_baseline_can_be_made_now() {
    let counts = Growing::new();
    let mut state = watched(counts);
    press(&mut state, &[key('b')]);
    assert!(state.rows.is_empty());
    state.take(Ok(read(counts.later(5))));
    assert_eq!(state.rows[0].since.exits, 1000);
    assert_eq!(state.rows[0].rate, Some(1000.0));
}

#[test]
fn what_is_too_long_is_scrolled_to_its_end() {
    let mut state = watched(Growing::new());
    press(&mut state, &[key('?'), KeyCode::End]);
    let text = screen(&state, 40, 10, SETTINGS);
    assert!(
        text.contains("quit") && !text.contains("next column"),
        "{text}"
    );
    press(&mut state, &[KeyCode::Home]);
    let text = screen(&state, 40, 10, SETTINGS);
    assert!(text.contains("next column"), "{text}");
    // What fits does not scroll.
    press(&mut state, &[KeyCode::Esc, KeyCode::Enter]);
    let text = screen(&state, 80, 24, SETTINGS);
    press(&mut state, &[KeyCode::PageDown, KeyCode::PageDown]);
    assert_eq!(screen(&state, 80, 24, SETTINGS), text);
}

#[test]
fn pause_and_help_are_switched() {
    let mut state = watched(Growing::new());
    press(&mut state, &[key('p')]);
    assert!(state.paused);
    press(&mut state, &[key(' ')]);
    assert!(!state.paused);
    press(&mut state, &[key('?')]);
    assert_eq!(state.overlay, Some(Overlay::Help));
    press(&mut state, &[key('s'), key('v'), KeyCode::Enter]);
    assert_eq!(
        (state.order, state.selection().by),
        (Order::Rate, By::Reason)
    );
    press(&mut state, &[key('?')]);
    assert_eq!(state.overlay, None);
}

#[test]
fn some_keys_quit() {
    let control_c = KeyEvent::new(key('c'), KeyModifiers::CONTROL);
    for quit in [key('q').into(), control_c] {
        assert!(watched(Growing::new()).press(quit).is_break(), "{quit:?}");
    }
    press(&mut watched(Growing::new()), &[key('c'), key('x')]);
}

#[test]
fn a_reading_may_fail_and_another_epoch_is_another_baseline() {
    let counts = Growing::new();
    let mut state = watched(counts);
    state.take(Err(anyhow!("the module\n  is gone")));
    assert_eq!(state.error.as_deref(), Some("the module; is gone"));
    assert_eq!(state.rows[0].since.exits, 4000);
    state.take(Ok(read(counts.later(5))));
    assert_eq!(state.error, None);
    assert!(state.notice.as_ref().unwrap().contains("again"));
    assert_eq!(state.rows[0].since.exits, 5000);

    let reset = Growing {
        epoch: 8,
        seconds: 200,
        ..counts
    };
    state.take(Ok(read(reset)));
    assert!(state.notice.as_ref().unwrap().contains("New baseline"));
    assert!(state.rows.is_empty());
    assert_eq!(state.total, None);
    state.take(Ok(read(reset.later(2))));
    assert_eq!(state.rows[0].rate, Some(1000.0));
    assert_eq!(state.rows[0].since.exits, 2000);
}

#[test]
fn another_vm_is_another_baseline() {
    let guest = |id, seconds| Snapshot {
        origin: Origin::GuestOfVm,
        identity: Id::new(id),
        ..read(Growing::new().later(seconds))
    };
    let mut state = State::new(guest(1, 0), Order::Rate, &[]).unwrap();
    state.take(Ok(guest(1, 1)));
    assert_eq!(state.rows[0].since.exits, 1000);
    // It has already counted more.
    state.take(Ok(guest(2, 100)));
    let notice = state.notice.clone().unwrap();
    assert!(
        notice.starts_with("New baseline: the VM differs"),
        "{notice}"
    );
    assert!(state.rows.is_empty() && state.total.is_none());
    state.take(Ok(guest(2, 101)));
    assert_eq!(state.rows[0].since.exits, 1000);
}

#[test]
fn a_guest_has_neither_vms_nor_histograms() {
    let guest = |seconds| Snapshot {
        origin: Origin::GuestOfVm,
        ..read(Growing::new().later(seconds))
    };
    let mut state = State::new(guest(0), Order::Rate, &[]).unwrap();
    state.take(Ok(guest(1)));
    press(&mut state, &[key('v')]);
    assert!(state.notice.as_ref().unwrap().contains("guest"));
    assert_eq!(state.selection().by, By::Reason);
    press(&mut state, &[KeyCode::Enter]);
    assert!(screen(&state, 80, 24, SETTINGS).contains("A guest cannot see histograms"));
}

#[test]
fn it_is_said_why_there_is_no_histogram() {
    let without = Growing {
        histograms: false,
        ..Growing::new()
    };
    let mut state = watched(without);
    press(&mut state, &[KeyCode::Enter]);
    assert!(screen(&state, 80, 24, SETTINGS).contains("parameter histograms"));
    press(&mut state, &[key('b')]);
    assert!(screen(&state, 80, 24, SETTINGS).contains("No exits since"));
    let mut state = State::new(read(Growing::new()), Order::Rate, &["412-11".into()]).unwrap();
    state.take(Ok(read(Growing::new().later(1))));
    press(&mut state, &[KeyCode::Enter]);
    assert!(screen(&state, 80, 24, SETTINGS).contains("all guests together"));
}

#[test]
fn what_was_not_timed_has_no_times() {
    let counts = Growing::new();
    // No HLT and three of four CPUIDs are timed.
    let read = |seconds: u64| {
        let counts = counts.later(seconds);
        let mut snapshot = read(counts);
        for counter in &mut snapshot.counters {
            let all = counter.exits;
            let untimed = if &*counter.name == "HLT" {
                all
            } else {
                all / 4
            };
            (counter.untimed, counter.cycles) = (Some(untimed), (all - untimed) * 600);
            counter.histogram = counter.histogram.take().filter(|_| untimed < all);
            if let Some(histogram) = &mut counter.histogram {
                histogram.buckets[9] = all - untimed;
            }
        }
        snapshot
    };
    let mut state = State::new(read(0), Order::Rate, &[]).unwrap();
    state.take(Ok(read(4)));
    insta::assert_snapshot!(
        "the_list_with_untimed_exits",
        screen(&state, 80, 8, SETTINGS)
    );
    press(&mut state, &[KeyCode::Enter]);
    let text = screen(&state, 80, 8, SETTINGS);
    assert!(text.contains("3,000 exits: min 300ns, p50 300ns"), "{text}");
    assert!(text.contains("\n1,000 more, not timed"), "{text}");
    press(&mut state, &[KeyCode::Esc, KeyCode::Down, KeyCode::Enter]);
    let text = screen(&state, 80, 8, SETTINGS);
    assert!(text.contains("None of its exits was timed."), "{text}");
}

#[test]
fn the_list_on_80_columns() {
    insta::assert_snapshot!(screen(&watched(Growing::new()), 80, 24, SETTINGS));
}

#[test]
fn the_list_on_40_columns_while_paused_and_the_module_is_gone() {
    let mut state = watched(Growing::new());
    press(&mut state, &[key('p')]);
    state.take(Err(anyhow!(
        "the module is not loaded (there is no /x): insmod kvm_exitprof.ko"
    )));
    insta::assert_snapshot!(screen(&state, 40, 10, SETTINGS));
}

#[test]
fn a_histogram_in_time_and_in_cycles() {
    let mut state = watched(Growing::new());
    press(&mut state, &[KeyCode::Enter]);
    insta::assert_snapshot!("a_histogram_in_time", screen(&state, 80, 10, SETTINGS));
    let settings = Settings { cycles: true };
    insta::assert_snapshot!("a_histogram_in_cycles", screen(&state, 40, 10, settings));
}

#[test]
fn the_vcpus_and_the_help() {
    let mut state = watched(Growing::new());
    press(&mut state, &[key('v'), key('v')]);
    insta::assert_snapshot!("the_vcpus", screen(&state, 80, 8, SETTINGS));
    press(&mut state, &[key('?')]);
    insta::assert_snapshot!("the_help", screen(&state, 80, 24, SETTINGS));
}

/// The longest name but one leaves no room for bars.
#[test]
fn headings_are_whole() {
    let mut state = watched(Growing::new());
    state.rows[0].since.name = "EXTERNAL_INTERRUPT".into();
    for width in 70..100 {
        let text = screen(&state, width, 24, SETTINGS);
        let heads = text
            .lines()
            .find(|line| line.starts_with("Reason"))
            .unwrap();
        let known = [
            "Reason", "Exits/s", "Exits", "Exits%", "Time%", "Avg", "p90", "p99", "Max", "Min",
        ];
        assert!(
            heads.split_whitespace().all(|head| known.contains(&head)),
            "{width}: {heads}"
        );
    }
}
