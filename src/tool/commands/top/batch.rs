// SPDX-License-Identifier: GPL-2.0

//! `exitprof top -b`: the screens as text, for files and pipes.

use super::{
    screen::{Settings, lines},
    state::State,
};
use crate::{commands::clock::Clock, render::table, snapshot::Snapshot};
use anyhow::Result;
use std::io::Write;

/// Prints so many screens, or until Ctrl-C.
///
/// # Errors
///
/// If `out` cannot be written.
pub fn run(
    mut state: State,
    settings: Settings,
    times: u32,
    mut read: impl FnMut() -> Result<Snapshot>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut clock = Clock::start()?;
    for nth in 0..times {
        if clock.is_interrupted_before(state.delay)? {
            break;
        }
        state.take(read());
        if nth > 0 {
            writeln!(out)?;
        }
        for line in lines(&state, settings, table::width()) {
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
    Ok(())
}
