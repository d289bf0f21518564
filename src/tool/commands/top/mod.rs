// SPDX-License-Identifier: GPL-2.0

//! `exitprof top`: what is being counted, live.

mod keys;
pub mod screen;
pub mod state;

use super::seconds::delay;
use crate::{
    snapshot::Snapshot,
    source::{Choice, Kind, Source},
};
use anyhow::{Context, Result, ensure};
use ratatui::{
    DefaultTerminal, Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    crossterm::event::{self, Event},
    layout::Rect,
};
use screen::Settings;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use state::{Order, State};
use std::{
    io::{self, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a signal may wait.
const PATIENCE: Duration = Duration::from_millis(100);

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
    let end = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&end)).context("signals")?;
    }
    // From here on, a panic also restores the terminal.
    let terminal = ratatui::try_init().context("the terminal")?;
    let result = sized(terminal).and_then(|terminal| watch(terminal, state, settings, read, &end));
    ratatui::try_restore().context("the terminal")?;
    result
}

/// Gives the terminal a size if it has none, as is common for serial consoles.
fn sized(terminal: DefaultTerminal) -> Result<DefaultTerminal> {
    if terminal.size()?.width > 0 {
        return Ok(terminal);
    }
    let viewport = Viewport::Fixed(Rect::new(0, 0, 80, 24));
    let backend = CrosstermBackend::new(io::stdout());
    Ok(Terminal::with_options(
        backend,
        TerminalOptions { viewport },
    )?)
}

fn watch(
    mut terminal: DefaultTerminal,
    mut state: State,
    settings: Settings,
    mut read: impl FnMut() -> Result<Snapshot>,
    end: &AtomicBool,
) -> Result<()> {
    let mut next = Instant::now() + settings.delay;
    while !end.load(Ordering::Relaxed) {
        terminal.draw(|frame| screen::draw(frame, &state, settings))?;
        let rest = next.saturating_duration_since(Instant::now());
        if event::poll(rest.min(PATIENCE))? {
            match event::read()? {
                Event::Key(key) if state.press(key).is_break() => break,
                // The screen may have been cleared, even if its size is the same again.
                Event::Resize(..) => terminal.clear()?,
                _ => (),
            }
        }
        if Instant::now() >= next {
            next = Instant::now() + settings.delay;
            if !state.paused {
                state.take(read());
            }
        }
    }
    Ok(())
}
