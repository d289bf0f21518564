// SPDX-License-Identifier: GPL-2.0
//! Results as KTAP (Documentation/dev-tools/ktap.rst), on a channel of their
//! own, so that no console line gets between them.

use super::verdict::Verdict;
use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A run of numbered tests.
pub struct Ktap {
    out: File,
    planned: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Ktap {
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        options.custom_flags(libc::O_NOCTTY);
        let out = options.open(path);
        let out = out.with_context(|| path.display().to_string())?;
        make_raw(&out);
        Ok(Self {
            out,
            planned: 0,
            passed: 0,
            failed: 0,
            skipped: 0,
        })
    }

    pub fn plan(&mut self, tests: usize) {
        self.planned = tests;
        self.line(&format!("KTAP version 1\n1..{tests}"));
    }

    /// Writes diagnostic lines.
    pub fn note(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("# {line}"));
        }
    }

    pub fn result(&mut self, name: &str, verdict: &Verdict) {
        let number = self.passed + self.failed + self.skipped + 1;
        let (ok, note) = match verdict {
            Verdict::Passed(note) => {
                self.passed += 1;
                ("ok", note.clone())
            }
            Verdict::Failed(why) => {
                self.failed += 1;
                ("not ok", why.clone())
            }
            Verdict::Skipped(why) => {
                self.skipped += 1;
                ("ok", format!("SKIP {why}"))
            }
        };
        let note = note.replace('\n', "; ").replace('#', "no.");
        let mark = if note.is_empty() { "" } else { " # " };
        self.line(&format!("{ok} {number} {name}{mark}{note}"));
    }

    /// Writes the closing line, and returns whether all is well. Tests that never
    /// ran count as failed.
    pub fn summary(&mut self) -> bool {
        let done = self.passed + self.failed + self.skipped;
        let failed = self.failed + self.planned.saturating_sub(done);
        let (passed, skipped) = (self.passed, self.skipped);
        self.line(&format!(
            "# {passed} passed, {failed} failed, {skipped} skipped"
        ));
        // SAFETY: the descriptor is open. On anything but a terminal the call fails.
        unsafe { libc::tcdrain(self.out.as_raw_fd()) };
        failed == 0
    }

    /// Writes a line as it is.
    pub fn line(&mut self, line: &str) {
        // A failure cannot be reported. The reader misses the summary.
        let _ = writeln!(self.out, "{line}");
    }
}

/// Sets a serial line to full speed and no CR before LF. Other files stay as they
/// are.
fn make_raw(out: &File) {
    let fd = out.as_raw_fd();
    // SAFETY: the settings are plain data, and tcgetattr fills them before their use.
    unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(fd, &mut settings) == 0 {
            libc::cfmakeraw(&mut settings);
            settings.c_cflag = settings.c_cflag & !libc::CBAUD | libc::B115200;
            libc::tcsetattr(fd, libc::TCSANOW, &settings);
        }
    }
}
