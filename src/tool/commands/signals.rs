// SPDX-License-Identifier: GPL-2.0

//! Waits for signals, files and times at once.

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::{
    consts::SIGTSTP,
    flag,
    iterator::{backend::SignalDelivery, exfiltrator::WithRawSiginfo},
};
use std::{
    ffi::c_int,
    fs, mem,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    ptr,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

/// Signals that no longer do what they do by default.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, WithRawSiginfo>,
    /// Of those that came last: which the kernel sent.
    from_kernel: Vec<c_int>,
}

impl Signals {
    /// Starts to listen to `signals`. Those that this process was started to ignore, as by
    /// nohup, remain ignored.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub fn listen(signals: &[c_int]) -> Result<Signals> {
        let (read, write) = UnixStream::pair().context("signals")?;
        let ignored = ignored();
        let signals = signals.iter().filter(|&signal| !ignored(*signal));
        let signals = SignalDelivery::with_pipe(read, write, WithRawSiginfo, signals);
        Ok(Signals {
            delivery: signals.context("signals")?,
            from_kernel: Vec::new(),
        })
    }

    /// Lets the second of `signals` end this process at once: the first may have to wait for
    /// a terminal or a disk.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub fn end_on_second(&self, signals: &[c_int]) -> Result<()> {
        let came = Arc::new(AtomicBool::new(false));
        self.end_if(&came, signals)?;
        let ignored = ignored();
        for &signal in signals.iter().filter(|&signal| !ignored(*signal)) {
            flag::register(signal, Arc::clone(&came)).context("signals")?;
        }
        Ok(())
    }

    /// Lets `signals` end this process at once whenever `flag` is set.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be installed.
    pub fn end_if(&self, flag: &Arc<AtomicBool>, signals: &[c_int]) -> Result<()> {
        let ignored = ignored();
        for &signal in signals.iter().filter(|&signal| !ignored(*signal)) {
            flag::register_conditional_default(signal, Arc::clone(flag)).context("signals")?;
        }
        Ok(())
    }

    /// Waits until a signal comes, until something happens to one of `files`, or until `end`.
    /// Returns the signals, and what happened to each file.
    ///
    /// # Errors
    ///
    /// If it cannot wait.
    pub fn wait(
        &mut self,
        files: &[(BorrowedFd<'_>, PollFlags)],
        end: Option<Instant>,
    ) -> Result<(Vec<c_int>, Vec<PollFlags>)> {
        let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
        let rest = rest.map(Timespec::try_from).transpose().context("a time")?;
        let own = PollFd::from_borrowed_fd(self.delivery.get_read().as_fd(), PollFlags::IN);
        let others = files
            .iter()
            .map(|&(file, what)| PollFd::from_borrowed_fd(file, what));
        let mut all: Vec<PollFd<'_>> = [own].into_iter().chain(others).collect();
        match poll(&mut all, rest.as_ref()) {
            // A signal.
            Ok(_) | Err(rustix::io::Errno::INTR) => (),
            Err(e) => return Err(e).context("poll"),
        }
        let happened = all[1..].iter().map(PollFd::revents).collect();
        let came: Vec<_> = self.delivery.pending().collect();
        let from_kernel = came.iter().filter(|info| info.si_code == libc::SI_KERNEL);
        self.from_kernel = from_kernel.map(|info| info.si_signo).collect();
        Ok((came.iter().map(|info| info.si_signo).collect(), happened))
    }

    /// Whether a key of the terminal caused the signal, which came last. The kernel sends such
    /// a signal to all processes of the job.
    pub fn is_from_terminal(&self, signal: c_int) -> bool {
        self.from_kernel.contains(&signal)
    }
}

/// Which signals this process ignores.
fn ignored() -> impl Fn(c_int) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let digits = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    let mask = mask.unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}

/// Stops this process as Ctrl-Z does by default, and returns once it is continued: at once if
/// nobody could continue it, because no shell is left that controls it.
pub fn stop() {
    // SAFETY: all zeros are a valid `sigaction`: the default action, without flags. Both
    // structures outlive the calls, and the second call restores the first one's result.
    unsafe {
        let default: libc::sigaction = mem::zeroed();
        let mut ours = mem::zeroed();
        if libc::sigaction(SIGTSTP, &default, &mut ours) == 0 {
            libc::raise(SIGTSTP);
            libc::sigaction(SIGTSTP, &ours, ptr::null_mut());
        }
    }
}
