// SPDX-License-Identifier: GPL-2.0

//! Runs a program at a tracepoint, with the tracepoint's fields.
//!
//! The loader does that by a perf event that counts on CPU 0, where each exit then costs a third
//! more. The kernel also runs the program of an event that does not count, and does so on all CPUs:
//! see `perf_trace_##call` in include/trace/perf.h. The event must be a CPU's all the same, for one
//! of a thread makes all switches of threads slower (`perf_sched_events` in kernel/events/core.c).

use anyhow::{Context, Result};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// As linux/perf_event.h has them.
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
const DISABLED: u64 = 1 << 0;

/// The first version of `struct perf_event_attr`.
#[derive(Default)]
#[repr(C)]
struct Attributes {
    r#type: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// The number of a tracepoint, which its description in tracefs has.
///
/// # Errors
///
/// If the text is another.
pub fn number(format: &str) -> Result<u64> {
    let number = format.lines().find_map(|line| line.strip_prefix("ID: "));
    let number = number.and_then(|number| number.trim().parse().ok());
    number.context("the tracepoint's description has no ID")
}

/// Lets `program` run at tracepoint `number`, until the event that it returns is closed.
///
/// # Errors
///
/// If this process may not, or there is no such tracepoint.
pub fn attach(program: BorrowedFd<'_>, number: u64) -> io::Result<OwnedFd> {
    const TIMES: usize = 9;
    // The CPU may go offline.
    let is_offline = |e: &io::Error| e.raw_os_error() == Some(libc::ENODEV);
    let mut opened = (0..TIMES).map(|_| open(number, rustix::thread::sched_getcpu()));
    let event = opened.find(|event| !event.as_ref().is_err_and(is_offline));
    let event = event.unwrap_or_else(|| Err(io::Error::from_raw_os_error(libc::ENODEV)))?;
    // SAFETY: This request takes a number, and touches no memory of this process.
    let done = unsafe {
        libc::ioctl(
            event.as_raw_fd(),
            PERF_EVENT_IOC_SET_BPF as libc::Ioctl,
            program.as_raw_fd(),
        )
    };
    match done {
        0 => Ok(event),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Opens an event of a CPU that does not count.
fn open(number: u64, cpu: usize) -> io::Result<OwnedFd> {
    const ANY_THREAD: libc::pid_t = -1;
    const NO_GROUP: libc::c_int = -1;
    let attributes = Attributes {
        r#type: PERF_TYPE_TRACEPOINT,
        size: size_of::<Attributes>() as u32,
        config: number,
        flags: DISABLED,
        ..Attributes::default()
    };
    // SAFETY: The attributes are as long as they say, and the kernel only reads them.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            ANY_THREAD,
            cpu as libc::c_int,
            NO_GROUP,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if event < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just opened it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(event as libc::c_int) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_in_the_description() {
        assert_eq!(number("name: kvm_exit\nID: 1022\nformat:\n").unwrap(), 1022);
        assert!(number("name: kvm_exit\n").is_err());
    }

    #[test]
    fn attributes_are_as_long_as_the_kernel_knows_them() {
        // PERF_ATTR_SIZE_VER0
        assert_eq!(size_of::<Attributes>(), 64);
    }
}
