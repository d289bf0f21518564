// SPDX-License-Identifier: GPL-2.0

//! The terminal of `top`: keys, size, and its end.

use super::input::Input;
use crate::commands::signals::{Signals, stop};
use anyhow::{Context, Result};
use ratatui::{
    DefaultTerminal, Frame, Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    crossterm::{
        event::KeyEvent,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
    layout::{Rect, Size},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Signal, kill_current_process_group},
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use std::{
    fs::File,
    io::{self, IsTerminal},
    mem,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

const ENDS: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
const GONE: PollFlags = PollFlags::HUP.union(PollFlags::ERR).union(PollFlags::NVAL);

/// The terminal in raw mode.
pub struct Console {
    terminal: DefaultTerminal,
    /// What is drawn on.
    area: Rect,
    keys: OwnedFd,
    input: Input,
    signals: Signals,
}

/// What happened.
#[derive(Debug)]
pub enum Happened {
    /// Perhaps keys were pressed, or the screen must be drawn anew.
    Keys(Vec<KeyEvent>),
    /// A signal asks for the end, or the terminal has gone.
    End,
}

/// The part of a terminal that can be drawn on. Serial consoles often do not know their size,
/// and ratatui counts cells in 16 bits.
fn usable(size: Size) -> Rect {
    match size.width {
        0 => Rect::new(0, 0, 80, 24),
        width => Rect::new(0, 0, width, size.height.min(u16::MAX / width)),
    }
}

impl Console {
    /// Takes the terminal. From here on, a panic also restores it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open() -> Result<Console> {
        let signals = Signals::listen(&[&ENDS[..], &[SIGCONT, SIGTSTP, SIGWINCH]].concat())?;
        signals.end_on_second(&ENDS)?;
        // As crossterm chooses the terminal whose mode it sets.
        let keys = match io::stdin().is_terminal() {
            true => io::stdin().as_fd().try_clone_to_owned(),
            false => File::open("/dev/tty").map(OwnedFd::from),
        };
        let keys = keys.context("the terminal")?;
        let size = ratatui::try_init().context("the terminal")?.size()?;
        let area = usable(size);
        let viewport = Viewport::Fixed(area);
        let backend = CrosstermBackend::new(io::stdout());
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        Ok(Console {
            terminal,
            area,
            keys,
            input: Input::default(),
            signals,
        })
    }

    /// Draws the screen where it has changed.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be written.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Result<()> {
        let area = usable(self.terminal.size()?);
        if area != self.area {
            self.area = area;
            self.terminal.resize(area)?;
        }
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Waits until something happens, or until `end`.
    ///
    /// # Errors
    ///
    /// If the terminal cannot be read or written.
    pub fn wait(&mut self, end: Option<Instant>) -> Result<Happened> {
        let stdout = io::stdout();
        // Whether a terminal has gone is told in any case.
        let files = [
            (self.keys.as_fd(), PollFlags::IN),
            (stdout.as_fd(), PollFlags::empty()),
        ];
        let (signals, files) = self.signals.wait(&files, end)?;
        if signals.iter().any(|signal| ENDS.contains(signal))
            || files.iter().any(|file| file.intersects(GONE))
        {
            return Ok(Happened::End);
        }
        if signals.contains(&SIGTSTP) {
            self.leave()?;
            stop();
            // SIGCONT has come, too.
            let (signals, _) = self.signals.wait(&[], Some(Instant::now()))?;
            if signals.iter().any(|signal| ENDS.contains(signal)) {
                return Ok(Happened::End);
            }
            self.enter()?;
        } else if signals.contains(&SIGCONT) {
            // A shell may have changed the terminal meanwhile.
            self.leave()?;
            self.enter()?;
        } else if signals.contains(&SIGWINCH) {
            // The screen may have been cleared, even if its size is the same again.
            self.terminal.clear()?;
        }
        if !files[0].contains(PollFlags::IN) {
            return Ok(Happened::Keys(Vec::new()));
        }
        let mut bytes = [0; 1024];
        match rustix::io::read(&self.keys, &mut bytes) {
            Ok(0) => Ok(Happened::End),
            Ok(length) => Ok(Happened::Keys(self.input.take(&bytes[..length]))),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Happened::Keys(Vec::new())),
            Err(e) => Err(e).context("the terminal"),
        }
    }

    /// Stops all programs of this job, as Ctrl-Z does outside raw mode. [`wait`](Self::wait)
    /// then stops this one.
    pub fn suspend(&self) {
        let _ = kill_current_process_group(Signal::TSTP);
    }

    /// Gives the terminal back, unless it has gone.
    ///
    /// # Errors
    ///
    /// If it cannot be restored.
    pub fn close(mut self) -> Result<()> {
        let left = self.leave();
        if self.is_gone() {
            // It would try again, and complain.
            mem::forget(self.terminal);
            return Ok(());
        }
        left
    }

    /// Whether a terminal has gone.
    pub fn is_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut files = [self.keys.as_fd(), stdout.as_fd()]
            .map(|file| PollFd::from_borrowed_fd(file, PollFlags::empty()));
        let _ = poll(&mut files, Some(&Timespec::default()));
        files.iter().any(|file| file.revents().intersects(GONE))
    }

    fn leave(&mut self) -> Result<()> {
        self.terminal.show_cursor()?;
        execute!(io::stdout(), LeaveAlternateScreen)?;
        disable_raw_mode().context("the terminal")
    }

    fn enter(&mut self) -> Result<()> {
        enable_raw_mode().context("the terminal")?;
        execute!(io::stdout(), EnterAlternateScreen)?;
        Ok(self.terminal.clear()?)
    }
}
