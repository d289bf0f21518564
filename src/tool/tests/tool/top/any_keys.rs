// SPDX-License-Identifier: GPL-2.0

//! The screen of `exitprof top` after any readings and keys.

use super::{SETTINGS, details::detailed, key, read, screen};
use crate::growing::Growing;
use anyhow::anyhow;
use exitprof::commands::top::state::{Order, State};
use proptest::prelude::*;
use ratatui::crossterm::event::KeyCode;

/// A key, a failure, or a reading: seconds later, epoch, whether a VM has ended.
#[derive(Clone, Debug)]
enum Step {
    Key(KeyCode),
    Read(u64, u32, bool),
    /// The module has become one that records no details.
    Plain(u32),
    Fail,
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof![
        proptest::sample::select("s<>pb v?jkx/+-ttlh".chars().map(key).collect::<Vec<_>>()),
        proptest::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Up,
            KeyCode::PageDown,
            KeyCode::Home,
            KeyCode::End,
        ]),
    ];
    prop_oneof![
        6 => key.prop_map(Step::Key),
        3 => (0..3_u64, 7..9_u32, any::<bool>()).prop_map(|(s, e, v)| Step::Read(s, e, v)),
        1 => (7..9_u32).prop_map(Step::Plain),
        1 => Just(Step::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_breaks_it(
        steps in proptest::collection::vec(step(), 0..40),
        width in 1..200_u16,
        height in 1..60_u16,
    ) {
        let mut counts = Growing { phases: true, ..Growing::new() };
        let mut state = State::new(detailed(counts), Order::Rate, &[]).unwrap();
        for step in steps {
            match step {
                // Quitting is up to the caller.
                Step::Key(key) => drop(state.press(key.into())),
                Step::Read(seconds, epoch, ended) => {
                    counts = Growing { epoch, ended, ..counts.later(seconds) };
                    state.take(Ok(detailed(counts)));
                }
                Step::Plain(epoch) => {
                    counts = Growing { epoch, ..counts.later(1) };
                    state.take(Ok(read(counts)));
                }
                Step::Fail => state.take(Err(anyhow!("it is gone"))),
            }
            screen(&state, width, height, SETTINGS);
        }
    }
}
