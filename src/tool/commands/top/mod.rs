// SPDX-License-Identifier: GPL-2.0

//! `exitprof top`: what is being counted, live.

mod console;
mod input;
mod keys;
pub mod screen;
pub mod state;

use super::seconds::delay;
use crate::{
    snapshot::Snapshot,
    source::{Choice, Kind, Source},
};
use anyhow::{Result, ensure};
use console::{Console, Happened};
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use screen::Settings;
use state::{Order, State};
use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

/// Arguments of `exitprof top`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Seconds between two readings
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = delay)]
    delay: Duration,
    /// Sort by this column, in descending order
    #[arg(long, value_name = "COLUMN", default_value = "rate")]
    sort: Order,
    /// Start with the VM of process PID, or with the VM <pid>-<fd> as named in KVM's debugfs
    #[arg(long, value_name = "PID")]
    vm: Option<String>,
    /// Show cycles, even if the frequency of the host's TSC is known
    #[arg(long)]
    cycles: bool,
    #[command(flatten)]
    choice: Choice,
}

/// Shows the screen until a key or a signal ends it.
///
/// # Errors
///
/// If there is nothing to read at first, no such VM, or no terminal.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(
        io::stdout().is_terminal(),
        "top needs a terminal: use exitprof stat for a file or a pipe"
    );
    let mut source = Source::find(&arguments.choice)?;
    let state = State::new(source.read()?, arguments.sort, arguments.vm.as_deref())?;
    let same = Choice {
        source: Some(match source {
            Source::Guest(_) => Kind::Guest,
            _ => Kind::Host,
        }),
        ..arguments.choice.clone()
    };
    // If reading fails, looks for the source again: debugfs may be mounted elsewhere when
    // the module comes back.
    let read = || {
        source.read().or_else(|e| {
            source = Source::find(&same).map_err(|_| e)?;
            source.read()
        })
    };
    let settings = Settings {
        delay: arguments.delay,
        cycles: arguments.cycles,
    };
    let mut console = Console::open()?;
    let ended = watch(&mut console, state, settings, read);
    let gone = console.is_gone();
    let closed = console.close();
    if gone { Ok(()) } else { ended.and(closed) }
}

fn watch(
    console: &mut Console,
    mut state: State,
    settings: Settings,
    mut read: impl FnMut() -> Result<Snapshot>,
) -> Result<()> {
    let mut next = Instant::now() + settings.delay;
    loop {
        console.draw(|frame| screen::draw(frame, &state, settings))?;
        let keys = match console.wait((!state.paused).then_some(next))? {
            Happened::Keys(keys) => keys,
            Happened::End => return Ok(()),
        };
        for key in keys {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            if control && key.code == KeyCode::Char('z') {
                console.suspend();
            } else if state.press(key).is_break() {
                return Ok(());
            }
        }
        if !state.paused && Instant::now() >= next {
            state.take(read());
            next = Instant::now() + settings.delay;
        }
    }
}
