// SPDX-License-Identifier: GPL-2.0
//! KVM's tracepoints as counts, `kvm:kvm_exit` above all, which is a count of exits.
//!
//! The kernel itself counts how often the tracepoint fires with fields that pass a
//! filter (perf_event_open): no buffer can overflow. The tracepoint differs from what
//! KVM handles as follows:
//!
//! - On VMX it does not fire if the guest did not run. That is so where KVM makes up
//!   reason 33, to emulate a state that the CPU would refuse, and where VMLAUNCH or
//!   VMRESUME fails as an instruction (reason 0xdead).
//! - On VMX its `exit_reason` has all 32 bits, of which bit 31 says that the CPU
//!   refused the guest's state. The profiler counts by the lower 16.
//! - On VMX it fires before KVM decides whether to re-enter the guest from its fast
//!   path. It fires once in either case.
//! - On SVM it fires where handling begins, for every exit, with all 32 bits of the
//!   exit code.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};

const EVENTS: &str = "/sys/kernel/tracing/events/kvm";

const PERF_TYPE_TRACEPOINT: u64 = 2;
/// The size of the first version of `struct perf_event_attr`.
const PERF_ATTR_SIZE_VER0: u64 = 64;
/// The flag `inherit`.
const INHERIT: u64 = 1 << 1;
/// `_IOW('$', 6, char *)`
const PERF_EVENT_IOC_SET_FILTER: libc::c_ulong = 0x4008_2406;

/// Counts the exits of vCPUs that run in this thread, or in threads that it starts from
/// now on. While there is one, kvm.ko cannot be unloaded.
pub struct Tracepoint(File);

impl Tracepoint {
    /// Counts every exit.
    pub fn all() -> Result<Self> {
        Self::every("kvm_exit")
    }

    /// Counts every event of KVM's with that name.
    fn every(event: &str) -> Result<Self> {
        let path = format!("{EVENTS}/{event}/id");
        let id = fs::read_to_string(&path).context(path)?.trim().parse()?;
        // type and size; config; sample period, sample type, read format; flags; and
        // fields for other kinds of events.
        let attr: [u64; PERF_ATTR_SIZE_VER0 as usize / 8] = [
            PERF_TYPE_TRACEPOINT | PERF_ATTR_SIZE_VER0 << 32,
            id,
            0,
            0,
            0,
            INHERIT,
            0,
            0,
        ];
        let (this_thread, any_cpu, no_group, no_flags) = (0, -1, -1, 0);
        // SAFETY: the attributes are as long as they say, and alive for the call.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                attr.as_ptr(),
                this_thread,
                any_cpu,
                no_group,
                no_flags,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("perf_event_open");
        }
        // SAFETY: the descriptor is fresh, so nobody else owns it.
        Ok(Self(unsafe { File::from_raw_fd(i32::try_from(fd)?) }))
    }

    /// Counts the exits whose field `exit_reason` is `reason`.
    pub fn of(reason: u32) -> Result<Self> {
        Self::all()?.filter(&format!("exit_reason=={reason}\0"))
    }

    /// Counts the events with that name whose fields pass a filter.
    pub fn with(event: &str, filter: &str) -> Result<Self> {
        Self::every(event)?.filter(&format!("{filter}\0"))
    }

    /// Counts the exits of vCPUs with that id in their VMs.
    pub fn of_vcpu(id: u32) -> Result<Self> {
        Self::all()?.filter(&format!("vcpu_id=={id}\0"))
    }

    fn filter(self, nul_terminated: &str) -> Result<Self> {
        let (fd, text) = (self.0.as_raw_fd(), nul_terminated.as_ptr());
        // SAFETY: a NUL-terminated string, alive for the call.
        if unsafe { libc::ioctl(fd, PERF_EVENT_IOC_SET_FILTER, text) } < 0 {
            let error = io::Error::last_os_error();
            return Err(error).context(format!("filter {nul_terminated}"));
        }
        Ok(self)
    }

    /// The count so far.
    pub fn read(&self) -> Result<u64> {
        let mut count = [0; 8];
        (&self.0).read_exact(&mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}
