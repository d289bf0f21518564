// SPDX-License-Identifier: GPL-2.0

//! `exitprof top -b`: the screens as text, for files and pipes.

use super::{
    screen::{Settings, draw},
    state::State,
};
use crate::{commands::clock::Clock, render::table, snapshot::Snapshot};
use anyhow::Result;
use ratatui::{Terminal, backend::TestBackend};
use std::io::Write;

/// The lines besides rows: title, status, headings, totals, and messages.
const OTHERS: usize = 8;

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
        print(&state, settings, out)?;
        out.flush()?;
    }
    Ok(())
}

/// Prints a screen as high as it must be.
fn print(state: &State, settings: Settings, out: &mut dyn Write) -> Result<()> {
    let height = (state.rows.len() + OTHERS).min(usize::from(u16::MAX));
    let width = table::width().clamp(1, usize::from(u16::MAX));
    let backend = TestBackend::new(width as u16, height as u16);
    let mut terminal = Terminal::new(backend)?;
    terminal.draw(|frame| draw(frame, state, settings))?;
    let cells = terminal.backend().buffer().content().chunks(width);
    let lines = cells.map(|cells| {
        let line: String = cells.iter().map(|cell| cell.symbol()).collect();
        line.trim_end().to_owned()
    });
    let lines: Vec<String> = lines.collect();
    let last = lines.iter().rposition(|line| !line.is_empty());
    for line in lines.iter().take(last.map_or(0, |last| last + 1)) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
