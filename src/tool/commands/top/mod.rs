// SPDX-License-Identifier: GPL-2.0

//! `exitprof top`: what is being counted, live.

pub mod bars;
mod batch;
mod console;
mod input;
mod keys;
mod list;
mod listing;
mod phases;
mod reader;
pub mod screen;
pub mod state;

use super::{naming::Naming, recorded::Times, seconds::delay};
use crate::{
    select::{By, Level},
    snapshot::Snapshot,
    source::Choice,
};
use anyhow::{Result, ensure};
use clap::ValueHint;
use console::{Console, Happened};
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use reader::Reader;
use screen::Settings;
use state::{Order, State};
use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    time::{Duration, Instant},
};

/// Arguments of `exitprof top`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Replay a series: each reading is its next snapshot
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["source", "debugfs"])]
    input: Option<PathBuf>,
    #[command(flatten)]
    times: Times,
    /// Seconds between two readings
    #[arg(long, short, value_name = "SECONDS", default_value = "1", value_parser = delay, value_hint = ValueHint::Other)]
    delay: Duration,
    /// Print the screens as text, for a file or a pipe
    #[arg(long, short)]
    batch: bool,
    /// End after N readings
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    iterations: Option<u32>,
    /// Sort by this column, in descending order
    #[arg(
        long,
        short,
        visible_short_alias = 'o',
        value_name = "COLUMN",
        default_value = "rate"
    )]
    sort: Order,
    /// Start with this VM: the process's PID, <pid>-<fd> as in KVM's debugfs, or the name
    /// (repeatable)
    #[arg(long = "vm", short = 'p', value_name = "VM", value_hint = ValueHint::Other)]
    vms: Vec<String>,
    /// Start with a list of reasons, VMs or vCPUs
    #[arg(
        long,
        value_name = "WHAT",
        conflicts_with = "vms",
        default_value = "reason"
    )]
    by: By,
    /// Start with bars that show where the time of vCPUs, or of VMs, went
    #[arg(long)]
    phases: bool,
    /// Start with exits from this level of nested guests
    #[arg(long, value_name = "LEVEL", conflicts_with = "phases")]
    level: Option<Level>,
    /// Show only rows whose names contain TEXT
    #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
    filter: Option<String>,
    /// Show cycles, even if the frequency of the host's TSC is known
    #[arg(long)]
    cycles: bool,
    #[command(flatten)]
    naming: Naming,
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
        arguments.batch || io::stdout().is_terminal(),
        "top needs a terminal: use exitprof top -b, or exitprof stat, for a file or a pipe"
    );
    let mut reader = Reader::find(
        arguments.input.as_deref(),
        &arguments.times,
        &arguments.choice,
    )?;
    let mut state = State::new(reader.read()?, arguments.sort, &arguments.vms)?;
    state.delay = arguments.delay;
    state.replays = reader.left().is_some();
    state.filter = arguments.filter.clone().unwrap_or_default();
    state.name(&arguments.naming.read()?);
    state.choose_level(arguments.level)?;
    state.group(arguments.by)?;
    if arguments.phases {
        state.show_phases();
    }
    let settings = Settings {
        cycles: arguments.cycles,
    };
    let mut times = arguments.iterations.unwrap_or(u32::MAX);
    if arguments.batch {
        if let Some(left) = reader.left() {
            times = times.min(left);
            // Nobody needs to wait for what is recorded.
            state.delay = Duration::from_millis(1);
        }
        let read = || reader.read();
        return batch::run(state, settings, times, read, &mut anstream::stdout());
    }
    let mut console = Console::open()?;
    let ended = watch(&mut console, state, settings, times, || reader.read());
    let gone = console.is_gone();
    let closed = console.close();
    if gone { Ok(()) } else { ended.and(closed) }
}

fn watch(
    console: &mut Console,
    mut state: State,
    settings: Settings,
    mut times: u32,
    mut read: impl FnMut() -> Result<Snapshot>,
) -> Result<()> {
    let mut next = Instant::now() + state.delay;
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
        // It may have become shorter.
        next = next.min(Instant::now() + state.delay);
        if !state.paused && Instant::now() >= next {
            state.take(read());
            next = Instant::now() + state.delay;
            times -= 1;
            if times == 0 {
                return Ok(());
            }
        }
    }
}
