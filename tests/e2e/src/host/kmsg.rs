// SPDX-License-Identifier: GPL-2.0
//! The kernel's log, record by record from `/dev/kmsg`.

use crate::harness::watchdog;
use anyhow::{Context, Result, bail};
use judge::complaints::is_complaint;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A reader with a position of its own.
pub struct Kmsg {
    file: File,
}

impl Kmsg {
    /// Reads from the oldest line on.
    pub fn from_boot() -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open("/dev/kmsg").context("/dev/kmsg")?;
        Ok(Self { file })
    }

    /// Reads from now on.
    pub fn from_now() -> Result<Self> {
        let mut log = Self::from_boot()?;
        log.file.seek(SeekFrom::End(0))?;
        Ok(log)
    }

    /// Returns the next line, if there is one.
    pub fn next(&mut self) -> Result<Option<String>> {
        let mut buf = [0; 8192];
        let n = loop {
            match self.file.read(&mut buf) {
                Ok(n) => break n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => watchdog::check()?,
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => {
                    bail!("lines of the kernel's log were overwritten unread")
                }
                Err(e) => return Err(e).context("/dev/kmsg"),
            }
        };
        let record = String::from_utf8_lossy(&buf[..n]);
        let text = record.split_once(';').map_or("", |(_, text)| text);
        let line = text.lines().next().unwrap_or_default();
        Ok(Some(line.to_owned()))
    }

    /// Returns all lines up to now.
    pub fn drain(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.next()? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Collects the lines that `pick` picks, until there are `count` or `patience` is
    /// over.
    pub fn collect<T>(
        &mut self,
        count: usize,
        patience: Duration,
        pick: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let deadline = Instant::now() + patience;
        loop {
            found.extend(self.drain()?.iter().filter_map(|line| pick(line)));
            if found.len() >= count || Instant::now() > deadline {
                return Ok(found);
            }
            watchdog::check()?;
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits up to three seconds for a line that `pick` picks.
    pub fn expect<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> Result<T> {
        let found = self.collect(1, Duration::from_secs(3), pick)?;
        let found = found.into_iter().next();
        found.with_context(|| format!("no {what} in the kernel's log"))
    }

    /// Returns the kernel's complaints since the last call. The loss of lines is one,
    /// too.
    pub fn splats(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            match self.next() {
                Ok(Some(line)) if is_complaint(&line) => found.push(line),
                Ok(Some(_)) => {}
                Ok(None) => return found,
                // The next read continues with the oldest line that is left.
                Err(e) if found.len() < 1000 => found.push(format!("{e:#}")),
                Err(_) => return found,
            }
        }
    }
}
