// SPDX-License-Identifier: GPL-2.0
//! Stuck readers: they read into memory whose page does not come before the test lets
//! it (`userfaultfd`).

use crate::harness::{Skip, watchdog};
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

/// A thread that is stuck in reading a file, until this is dropped.
pub struct StuckReader {
    faults: Option<File>,
    reader: Option<JoinHandle<io::Result<usize>>>,
}

/// The page that does not come.
struct Page(*mut libc::c_void);

// SAFETY: it is plain memory, which the kernel writes for one thread, and nobody reads.
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
        // SAFETY: `new` made the mapping, and nobody else has it.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

impl StuckReader {
    /// Starts a thread that reads `file`, and waits until it is stuck.
    pub fn reading(file: File, call: Call) -> Result<Self> {
        let page = Page::new()?;
        let faults = catch_faults(&page)?;
        let reader = thread::spawn(move || {
            // SAFETY: an open file, and a page that will be writable.
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

    /// Whether the thread has ended.
    pub fn is_done(&self) -> bool {
        self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets the page come, and returns how many bytes the thread reads then.
    pub fn release(mut self) -> Result<usize> {
        ensure!(!self.is_done(), "the reader was not stuck");
        self.faults = None;
        let reader = self.reader.take().context("no reader")?;
        Ok(reader.join().ok().context("the reader panicked")??)
    }
}

impl Drop for StuckReader {
    fn drop(&mut self) {
        // Without the descriptor, the kernel provides the page itself.
        self.faults = None;
        if let Some(reader) = self.reader.take() {
            // The test is over, or has failed already.
            let _ = reader.join();
        }
    }
}

/// Makes the kernel ask a descriptor for the page, and wait for it.
fn catch_faults(page: &Page) -> Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the call takes flags, and returns a new descriptor.
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
        // SAFETY: the argument is as long as the request says.
        let r = unsafe { libc::ioctl(faults.as_raw_fd(), request, argument) };
        ensure!(r == 0, "{request:#x}: {}", io::Error::last_os_error());
    }
    Ok(faults)
}
