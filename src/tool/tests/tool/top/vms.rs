// SPDX-License-Identifier: GPL-2.0

//! The lists of VMs and vCPUs on the screen of `exitprof top`.

use super::{SETTINGS, key, names, press, read, screen, watched};
use crate::growing::Growing;
use exitprof::{
    commands::top::{
        screen::lines,
        state::{Order, State},
    },
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
    // Once too often does not quit.
    press(&mut state, &[KeyCode::Esc]);
    assert!(state.notice.unwrap().contains("q quits"));
}

#[test]
fn vcpus_of_one_name_are_two_rows() {
    let counts = Growing::new();
    let read = |seconds| {
        let text = counts.later(seconds).profile();
        Snapshot::from_text(&text.replace("vm=412-11 vcpu=1", "vm=412-11 vcpu=0")).unwrap()
    };
    let mut state = State::new(read(0), Order::Rate, &[]).unwrap();
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
fn reasons_of_several_vms_say_whose_they_are() {
    let counts = Growing::new();
    for (by, owner) in [(By::VmReason, "412-11"), (By::VcpuReason, "412-11 vCPU 1")] {
        let mut state = State::new(read(counts), Order::Rate, &[]).unwrap();
        state.group(by).unwrap();
        state.take(Ok(read(counts.later(2))));
        let screen = screen(&state, 80, 10, SETTINGS);
        assert!(screen.contains(&format!("\n{owner} CPUID ")), "{screen}");
    }
}

#[test]
fn a_vm_that_ends_is_left() {
    let counts = Growing::new();
    let mut state = State::new(read(counts), Order::Rate, &["977".into()]).unwrap();
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
fn one_of_several_vms_that_ends_is_left() {
    let counts = Growing::new();
    let vms = ["412", "977"].map(String::from);
    let mut state = State::new(read(counts), Order::Rate, &vms).unwrap();
    state.take(Ok(read(counts.later(1))));
    let ended = Growing {
        ended: true,
        ..counts.later(2)
    };
    state.take(Ok(read(ended)));
    assert_eq!(state.notice.as_deref(), Some("VM 977 has ended."));
    assert_eq!(state.selection().vms, ["412"]);
    assert_eq!(names(&state), ["CPUID"]);
    assert_eq!(state.rows[0].since.exits, 1800);
}

#[test]
fn a_vm_must_be_there_at_first() {
    let e = State::new(read(Growing::new()), Order::Rate, &["5".into()]).unwrap_err();
    assert!(e.to_string().contains("there is no VM 5"), "{e}");
}

#[test]
fn rows_have_a_total_and_a_filter() {
    let mut state = watched(Growing::new());
    assert_eq!(
        (state.sum.since.exits, state.sum.rate),
        (4800, Some(1200.0))
    );
    let avg = (4000.0 * 600.0 + 800.0 * 50_000.0) / 4800.0;
    assert_eq!(
        (state.sum.since.avg, state.sum.since.exits_percent),
        (Some(avg), Some(100.0))
    );
    press(&mut state, &[key('/'), key('c'), key('q')]);
    assert!(state.rows.is_empty() && state.sum.since.avg.is_none());
    assert!(screen(&state, 80, 8, SETTINGS).contains("No such rows"));
    press(&mut state, &[KeyCode::Backspace, KeyCode::Enter]);
    assert_eq!(
        (names(&state), state.sum.since.exits),
        (vec!["CPUID"], 4000)
    );
    assert!(screen(&state, 80, 8, SETTINGS).contains("only \"c\""));
    press(&mut state, &[KeyCode::Esc]);
    assert_eq!(names(&state).len(), 2);
    press(&mut state, &[key('/'), key('x'), KeyCode::Esc]);
    assert_eq!((names(&state).len(), state.typing), (2, false));
}

/// The names that QEMU gave VMs stand beside them, and are found.
#[test]
fn vms_have_names() {
    let mut state = watched(Growing::new());
    let mut last = read(Growing::new().later(5));
    last.vm_names.insert("977-14".into(), "Web".into());
    state.take(Ok(last));
    press(&mut state, &[key('v')]);
    assert!(screen(&state, 80, 8, SETTINGS).contains("\n977-14 Web "));
    press(&mut state, &[key('/'), key('w'), key('e'), KeyCode::Enter]);
    assert_eq!(names(&state), ["977-14"]);
}

#[test]
fn readings_are_as_often_as_keys_ask_for() {
    let mut state = watched(Growing::new());
    let mut after = |keys: &str| {
        press(&mut state, &keys.chars().map(key).collect::<Vec<_>>());
        state.delay.as_secs_f64()
    };
    assert_eq!([after("+"), after("--"), after("-----")], [2.0, 0.5, 0.1]);
    assert_eq!(after("++++++++++++++++++++"), 3600.0);
}

/// No word is cut, if there is room for one.
#[test]
fn screens_of_all_sizes() {
    let state = watched(Growing::new());
    insta::assert_snapshot!("the_list_on_120x40", screen(&state, 120, 40, SETTINGS));
    insta::assert_snapshot!("the_list_on_20x5", screen(&state, 20, 5, SETTINGS));
    insta::assert_snapshot!("the_list_on_40x8", screen(&state, 40, 8, SETTINGS));
    let mut state = state;
    press(&mut state, &[key('?')]);
    insta::assert_snapshot!("the_help_on_120x40", screen(&state, 120, 40, SETTINGS));
    insta::assert_snapshot!("the_help_on_20x60", screen(&state, 20, 60, SETTINGS));
    press(&mut state, &[KeyCode::End]);
    assert!(screen(&state, 20, 5, SETTINGS).contains("quit"));
    press(&mut state, &[KeyCode::Esc, KeyCode::Enter]);
    insta::assert_snapshot!("the_histogram_on_20x12", screen(&state, 20, 12, SETTINGS));
    insta::assert_snapshot!("the_histogram_on_120x40", screen(&state, 120, 40, SETTINGS));
}

/// Of any number of rows, and with the same words as the screen.
#[test]
fn screens_are_lines_of_text() {
    let state = watched(Growing::new());
    for width in [20, 40, 80, 120] {
        let drawn = screen(&state, width, 8, SETTINGS);
        let (drawn, _) = drawn.rsplit_once("\n").unwrap();
        let printed = lines(&state, SETTINGS, width.into());
        assert_eq!(printed.join("\n"), drawn.trim_end());
    }
    let mut many = watched(Growing::new());
    many.rows = many.rows.iter().cycle().take(20_000).cloned().collect();
    let text = lines(&many, SETTINGS, 80);
    assert_eq!(text.len(), 20_004);
    assert!(
        text[3..20_003]
            .iter()
            .all(|line| line.starts_with("CPUID") || line.starts_with("HLT"))
    );
}
