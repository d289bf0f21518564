// SPDX-License-Identifier: GPL-2.0

//! The bars on the screen of `exitprof top` that show where time went.

use super::{SETTINGS, key, press, read, screen};
use crate::growing::Growing;
use exitprof::{
    commands::top::{
        screen::lines,
        state::{Order, State},
    },
    select::By,
    snapshot::{Origin, Owner, Snapshot},
};
use ratatui::crossterm::event::KeyCode;

const PHASES: Growing = Growing {
    epoch: 7,
    seconds: 100,
    ended: false,
    histograms: true,
    phases: true,
};

/// The state after two readings, two seconds apart.
fn watched() -> State {
    let mut state = State::new(read(PHASES), Order::Rate, &[]).unwrap();
    state.take(Ok(read(PHASES.later(2))));
    state
}

/// The words of each line of the list, without its heading and its legend.
fn rows(state: &State, width: usize) -> Vec<Vec<String>> {
    let lines = lines(state, SETTINGS, width);
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start));
    let first = at("vCPU").unwrap();
    let last = at("= Guest").unwrap();
    let words = |line: &String| line.split_whitespace().map(String::from).collect();
    lines[first + 1..last].iter().map(words).collect()
}

fn bars(state: &State) -> Vec<String> {
    let rows = rows(state, 100);
    rows.into_iter()
        .map(|mut words| words.pop().unwrap())
        .collect()
}

fn names(state: &State) -> Vec<&str> {
    state.bars.iter().map(|bar| &*bar.key.name).collect()
}

#[test]
fn bars_of_vcpus_and_of_vms() {
    let mut state = watched();
    press(&mut state, &[key('t')]);
    insta::assert_snapshot!("bars_on_80x24", screen(&state, 80, 24, SETTINGS));
    insta::assert_snapshot!("bars_on_40x10", screen(&state, 40, 10, SETTINGS));
    press(&mut state, &[key('v')]);
    insta::assert_snapshot!("bars_of_vms_on_120x12", screen(&state, 120, 12, SETTINGS));
    press(&mut state, &[key('t')]);
    assert!(screen(&state, 80, 24, SETTINGS).contains("Exits/s"));
}

/// Each bar is full, and each part has its share of it, whatever its width.
#[test]
fn bars_are_stacked() {
    let mut state = watched();
    press(&mut state, &[key('t')]);
    let marks = "=+HLUP.Xz";
    for bar in bars(&state) {
        let order: Vec<usize> = bar.chars().map(|c| marks.find(c).unwrap()).collect();
        assert!(order.is_sorted(), "{bar}");
    }
    for width in 40..130 {
        let all = rows(&state, width);
        let widths: Vec<usize> = all
            .iter()
            .map(|words| words.last().unwrap().len())
            .collect();
        assert!(
            widths.iter().all(|&bar| bar == widths[0] && bar >= 10),
            "{all:?}"
        );
        // vCPU 1 is in userspace for a tenth of the time, and preempted for a quarter.
        let bar = all[1].last().unwrap();
        for (mark, share) in [('U', 0.1), ('X', 0.25)] {
            let length = bar.matches(mark).count() as f64;
            assert!((length - share * bar.len() as f64).abs() <= 1.0, "{bar}");
        }
    }
}

/// Of the last interval, not since the baseline.
#[test]
fn bars_are_of_the_last_interval() {
    let mut state = watched();
    press(&mut state, &[key('t')]);
    let shares = |state: &State| rows(state, 120)[1][3].clone();
    assert_eq!(shares(&state), "64.98%");
    // In this second, vCPU 1 is in the guest only.
    let mut last = read(PHASES.later(3));
    let before = read(PHASES.later(2));
    for (now, before) in last.budgets.iter_mut().zip(&before.budgets) {
        if matches!(&now.owner, Owner::Vcpu(vcpu) if vcpu.vcpu == 1) {
            now.spent = before.spent.clone();
            now.guest = before.guest + (now.elapsed - before.elapsed);
        }
    }
    state.take(Ok(last));
    assert_eq!(shares(&state), "100%");
}

#[test]
fn bars_are_sorted_and_filtered() {
    let mut state = watched();
    press(&mut state, &[key('t')]);
    let all = ["412-11 vCPU 0", "412-11 vCPU 1", "977-14 vCPU 0"];
    assert_eq!(names(&state), all);
    // By the guest's share, and by that of the handler.
    press(&mut state, &[key('s')]);
    assert_eq!(names(&state), all);
    press(&mut state, &[key('s'), key('>')]);
    assert_eq!(names(&state)[0], "977-14 vCPU 0");
    press(&mut state, &[key('r')]);
    assert_eq!(names(&state)[2], "977-14 vCPU 0");
    press(&mut state, &[key('r'), key('<'), key('<'), key('<')]);
    assert_eq!((state.part.part, names(&state)), (None, all.to_vec()));
    // What exits are sorted by has not changed.
    assert_eq!(state.order, Order::Rate);
    press(
        &mut state,
        &[
            key('<'),
            key('s'),
            key('/'),
            key('9'),
            key('7'),
            KeyCode::Enter,
        ],
    );
    assert_eq!(names(&state), ["977-14 vCPU 0"]);
    press(&mut state, &[key('/'), key('x'), KeyCode::Enter]);
    assert!(screen(&state, 80, 24, SETTINGS).contains("No such rows in the last interval."));
}

#[test]
fn a_vm_is_entered_and_a_vcpu_has_exits() {
    let mut state = watched();
    press(&mut state, &[key('t'), key('v'), KeyCode::Down]);
    assert_eq!(
        (names(&state), state.cursor()),
        (vec!["412-11", "977-14"], 1)
    );
    press(&mut state, &[KeyCode::Up, KeyCode::Enter]);
    assert_eq!(names(&state), ["412-11 vCPU 0", "412-11 vCPU 1"]);
    // There is no list of VMs in a VM.
    press(&mut state, &[key('v')]);
    assert_eq!(names(&state).len(), 2);
    press(&mut state, &[KeyCode::Down, KeyCode::Enter]);
    assert!(!state.has_phases());
    assert_eq!(
        (state.selection().vcpu, state.rows[0].rate),
        (Some(1), Some(300.0))
    );
    press(&mut state, &[KeyCode::Esc]);
    assert_eq!((names(&state).len(), state.cursor()), (2, 1));
    press(&mut state, &[KeyCode::Esc, KeyCode::Esc]);
    assert!(!state.has_phases());
    assert_eq!(state.selection().by, By::Vm);
}

#[test]
fn what_has_ended_is_a_bar_without_details() {
    let mut state = watched();
    press(&mut state, &[key('t')]);
    state.take(Ok(read(Growing {
        ended: true,
        ..PHASES.later(4)
    })));
    assert_eq!(names(&state), ["ended", "412-11 vCPU 0", "412-11 vCPU 1"]);
    press(&mut state, &[KeyCode::Enter]);
    assert!(
        state
            .notice
            .as_ref()
            .unwrap()
            .contains("\"ended\" has no details")
    );
}

#[test]
fn without_phases_the_screen_says_how_to_get_them() {
    let without = Growing {
        phases: false,
        ..PHASES
    };
    let mut state = State::new(read(without), Order::Rate, &[]).unwrap();
    state.show_phases();
    assert!(screen(&state, 80, 24, SETTINGS).contains("Waiting for a second reading."));
    state.take(Ok(read(without.later(1))));
    let text = screen(&state, 80, 24, SETTINGS).replace('\n', " ");
    assert!(
        text.contains("/sys/module/kvm_exitprof/parameters/phases"),
        "{text}"
    );
    assert!(lines(&state, SETTINGS, 80).concat().contains("write Y to"));
    // They are on, but no VM runs.
    let idle = |seconds| Snapshot {
        phases: Some(true),
        ..read(without.later(seconds))
    };
    state.take(Ok(idle(2)));
    assert!(screen(&state, 80, 24, SETTINGS).contains("No vCPU had any time"));
}

/// A guest sees the sum of its scope.
#[test]
fn a_guest_has_one_bar() {
    let guest = |seconds| {
        let mut guest = Snapshot {
            origin: Origin::GuestOfVm,
            ..read(PHASES.later(seconds))
        };
        guest.budgets.truncate(1);
        guest.budgets[0].owner = Owner::All;
        guest
    };
    let mut state = State::new(guest(0), Order::Rate, &[]).unwrap();
    state.take(Ok(guest(1)));
    press(&mut state, &[key('t')]);
    assert_eq!(names(&state), ["all"]);
    assert_eq!(rows(&state, 100).len(), 1);
}
