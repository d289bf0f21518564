// SPDX-License-Identifier: GPL-2.0
//! Readers that do not get on: they read into memory whose page never comes, until
//! the test has seen enough (`userfaultfd`).

use crate::harness::runner::Skip;
use crate::harness::watchdog;
use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
const API: u64 = 0xaa;
const REGISTER_MISSING: u64 = 1;
/// `_IOWR(0xaa, 0x3f, struct uffdio_api)`, of three 64-bit words.
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
/// `_IOWR(0xaa, 0, struct uffdio_register)`, of four.
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;

/// How a reader reads.
#[derive(Clone, Copy)]
pub enum Call {
    /// A file, by `read`.
    Read,
    /// A directory, by `getdents64`.
    List,
}

/// A thread that reads a file, and that is stuck in it as long as this lives.
pub struct Stuck {
    faults: Option<File>,
    reader: Option<JoinHandle<io::Result<usize>>>,
}

/// The page that never comes.
struct Page(*mut libc::c_void);

// SAFETY: it is plain memory, which one thread has the kernel write, and which is
// never looked at.
unsafe impl Send for Page {}

impl Page {
    fn new() -> Result<Self> {
        // SAFETY: a new private mapping at an address of the kernel's choice.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        ensure!(page != libc::MAP_FAILED, "mmap of a page");
        Ok(Self(page))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nobody else has it.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

impl Stuck {
    /// Has a thread begin to read `file`, and waits until it is stuck.
    pub fn reading(file: File, call: Call) -> Result<Self> {
        let page = Page::new()?;
        let faults = catch_faults(&page)?;
        let reader = thread::spawn(move || {
            // SAFETY: an open file, and a page that is writable, or will be.
            let r = unsafe {
                match call {
                    Call::Read => libc::read(file.as_raw_fd(), page.0, PAGE) as i64,
                    Call::List => {
                        libc::syscall(libc::SYS_getdents64, file.as_raw_fd(), page.0, PAGE)
                    }
                }
            };
            drop(page);
            usize::try_from(r).map_err(|_| io::Error::last_os_error())
        });
        let stuck = Self {
            faults: Some(faults),
            reader: Some(reader),
        };
        stuck.wait_for_fault()?;
        Ok(stuck)
    }

    /// Waits until the kernel asks for the page.
    fn wait_for_fault(&self) -> Result<()> {
        let faults = self.faults.as_ref().context("no faults")?;
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let mut poll = libc::pollfd {
                fd: faults.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one descriptor, alive for the call.
            let ready = unsafe { libc::poll(&raw mut poll, 1, 100) };
            if ready > 0 && poll.revents & libc::POLLIN != 0 {
                return Ok(());
            }
            watchdog::check()?;
            if Instant::now() > end || self.is_done() {
                bail!("the reader is not stuck");
            }
        }
    }

    /// Whether it has got on by itself.
    pub fn is_done(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Gives it the page, which is zeros, and returns how many bytes it reads then.
    pub fn release(mut self) -> Result<usize> {
        ensure!(!self.is_done(), "the reader was not stuck");
        self.faults = None;
        let reader = self.reader.take().context("no reader")?;
        Ok(reader.join().ok().context("the reader panicked")??)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Who closes it lets the kernel help itself.
        self.faults = None;
        if let Some(reader) = self.reader.take() {
            // What it has read is of no interest any more.
            let _ = reader.join();
        }
    }
}

/// Where the kernel asks for the page, and has to wait for it.
fn catch_faults(page: &Page) -> Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the call takes flags and returns a new descriptor.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if fd < 0 {
        return Err(Skip::because(format!(
            "userfaultfd: {}",
            io::Error::last_os_error()
        )));
    }
    // SAFETY: the descriptor is fresh, so nobody else owns it.
    let faults = unsafe { File::from_raw_fd(libc::c_int::try_from(fd)?) };
    let mut api = [API, 0, 0];
    let mut register = [page.0.addr() as u64, PAGE as u64, REGISTER_MISSING, 0];
    for (request, argument) in [
        (UFFDIO_API, api.as_mut_ptr()),
        (UFFDIO_REGISTER, register.as_mut_ptr()),
    ] {
        // SAFETY: the argument has as many words as the request says.
        let r = unsafe { libc::ioctl(faults.as_raw_fd(), request, argument) };
        ensure!(r == 0, "{request:#x}: {}", io::Error::last_os_error());
    }
    Ok(faults)
}
