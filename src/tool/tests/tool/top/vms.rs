// SPDX-License-Identifier: GPL-2.0

//! The lists of VMs and vCPUs on the screen of `exitprof top`.

use super::{SETTINGS, key, names, press, read, screen, watched};
use crate::growing::Growing;
use exitprof::{
    commands::top::state::{Order, State},
    select::By,
    snapshot::Snapshot,
};
use ratatui::crossterm::event::KeyCode;

#[test]
fn vms_and_vcpus_are_entered_and_left() {
    let mut state = watched(Growing::new());
    press(&mut state, &[key('v')]);
    assert_eq!(names(&state), ["412-11", "977-14"]);
    assert_eq!(state.rows[1].rate, Some(300.0));
    press(&mut state, &[KeyCode::Enter]);
    assert_eq!(state.selection().vms, ["412-11"]);
    assert_eq!(names(&state), ["CPUID"]);
    press(&mut state, &[key('v')]);
    assert_eq!(names(&state), ["412-11 vCPU 0", "412-11 vCPU 1"]);
    press(&mut state, &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(state.selection().vcpu, Some(1));
    assert_eq!(state.rows[0].rate, Some(300.0));
    press(&mut state, &[key('v'), KeyCode::Esc, KeyCode::Esc]);
    assert_eq!(
        (state.selection().by, state.selection().vms.len()),
        (By::Vm, 0)
    );
    press(&mut state, &[key('v')]);
    assert_eq!(names(&state).len(), 3);
    press(&mut state, &[KeyCode::Esc]);
    assert_eq!(state.selection().by, By::Reason);
    assert!(state.press(KeyCode::Esc.into()).is_break());
}

#[test]
fn vcpus_of_one_name_are_two_rows() {
    let counts = Growing::new();
    let read = |seconds| {
        let text = counts.later(seconds).profile();
        Snapshot::from_text(&text.replace("vm=412-11 vcpu=1", "vm=412-11 vcpu=0")).unwrap()
    };
    let mut state = State::new(read(0), Order::Rate, None).unwrap();
    state.take(Ok(read(2)));
    press(&mut state, &[key('v'), key('v')]);
    let rates: Vec<_> = state.rows.iter().map(|row| row.rate).collect();
    assert_eq!(rates, [Some(600.0), Some(300.0), Some(300.0)]);
    assert!(screen(&state, 80, 8, SETTINGS).contains("\n412-11 vCPU 0 #c492 "));
    // Each can be entered.
    for rate in [600.0, 300.0] {
        press(&mut state, &[KeyCode::Enter]);
        assert_eq!(state.rows[0].rate, Some(rate));
        press(&mut state, &[KeyCode::Esc, KeyCode::Down]);
    }
}

#[test]
fn a_vm_that_ends_is_left() {
    let counts = Growing::new();
    let mut state = State::new(read(counts), Order::Rate, Some("977")).unwrap();
    state.take(Ok(read(counts.later(1))));
    press(&mut state, &[key('v'), KeyCode::Enter]);
    let ended = Growing {
        ended: true,
        ..counts.later(2)
    };
    state.take(Ok(read(ended)));
    assert_eq!(state.notice.as_deref(), Some("VM 977 has ended."));
    assert_eq!(state.selection().by, By::Vm);
    assert_eq!(names(&state), ["412-11", "ended"]);
    press(&mut state, &[KeyCode::End, KeyCode::Enter]);
    assert!(state.notice.unwrap().contains("ended"));
}

#[test]
fn a_vm_must_be_there_at_first() {
    let e = State::new(read(Growing::new()), Order::Rate, Some("5")).unwrap_err();
    assert!(e.to_string().contains("there is no VM 5"), "{e}");
}
