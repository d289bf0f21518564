// SPDX-License-Identifier: GPL-2.0
//! The host's CPUs: which are online, which a thread may use, and their TSCs.

use crate::harness::Skip;
use crate::vmm::cpu;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use std::{io, thread};

const DIR: &str = "/sys/devices/system/cpu";
const CLOCKSOURCES: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";

/// The numbers of the CPUs that are online.
pub fn online() -> Result<Vec<usize>> {
    let path = format!("{DIR}/online");
    let text = fs::read_to_string(&path).context(path)?;
    let mut cpus = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse()?..=last.parse::<usize>()?);
    }
    Ok(cpus)
}

/// The number of CPUs that the kernel is prepared for.
pub fn possible() -> Result<usize> {
    let path = format!("{DIR}/possible");
    let text = fs::read_to_string(&path).context(path)?;
    let last = text.trim().rsplit('-').next().unwrap_or_default();
    Ok(last.parse::<usize>()? + 1)
}

/// The CPUs for vCPUs: all that are online, but in QEMU's emulator not CPU 0 if there
/// are others.
///
/// When another CPU of QEMU restores its FPU's state, it changes CPU 0's `hflags2`
/// without a lock: `cpu_set_fpus()` calls `cpu_clear_ignne()` in
/// `target/i386/tcg/system/fpu_helper.c`. That may lose CPU 0's note that it has
/// entered or left a guest. CPU 0 then takes the host's memory for the guest's.
pub fn usable() -> Result<Vec<usize>> {
    let mut cpus = online()?;
    if cpu::is_qemu() && cpus.len() > 1 {
        cpus.retain(|&cpu| cpu != 0);
    }
    Ok(cpus)
}

/// The first CPU for vCPUs, which stays online.
pub fn first() -> Result<usize> {
    usable()?.first().copied().context("no CPU is online")
}

/// The last CPU for vCPUs, for tests that need two.
pub fn second() -> Result<usize> {
    match usable()?[..] {
        [_, .., last] => Ok(last),
        _ => Err(Skip::because("the host has one CPU for guests only")),
    }
}

/// Restricts a thread, or the caller if `tid` is 0, to `cpus`.
pub fn pin(tid: libc::pid_t, cpus: &[usize]) -> io::Result<()> {
    // SAFETY: a set of CPUs is plain data, and CPU_SET checks its argument.
    let r = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            libc::CPU_SET(cpu, &mut set);
        }
        libc::sched_setaffinity(tid, size_of_val(&set), &raw const set)
    };
    match r {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Does `what` on one CPU.
pub fn on<T>(cpu: usize, what: impl FnOnce() -> T) -> Result<T> {
    pin(0, &[cpu])?;
    let done = what();
    pin(0, &usable()?)?;
    Ok(done)
}

/// Does `what`, which makes the kernel change code while guests execute it. In QEMU's
/// emulator, only one CPU takes part.
///
/// When a CPU stores to code, QEMU first drops the code's translation. Another CPU may
/// translate the old code again before the store. All CPUs then keep that translation,
/// and the host dies of a breakpoint that is long gone.
pub fn changing_code<T>(what: impl FnOnce() -> Result<T>) -> Result<T> {
    if cpu::is_qemu() {
        on(first()?, what)?
    } else {
        what()
    }
}

/// A CPU that is offline until this is dropped.
pub struct Offline(usize);

impl Offline {
    pub fn take(cpu: usize) -> Result<Self> {
        switch(cpu, "0").with_context(|| format!("taking CPU {cpu} offline"))?;
        Ok(Self(cpu))
    }

    /// Brings the CPU back.
    pub fn end(self) -> Result<()> {
        let cpu = self.0;
        std::mem::forget(self);
        switch(cpu, "1").with_context(|| format!("bringing CPU {cpu} back"))
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        // The test has failed already.
        let _ = switch(self.0, "1");
    }
}

fn switch(cpu: usize, online: &str) -> io::Result<()> {
    fs::write(format!("{DIR}/cpu{cpu}/online"), online)
}

/// Waits until the kernel has measured the TSC's frequency, a second or more after
/// boot. Until then its clock has another name.
///
/// KVM remembers the frequency that is known when it is loaded, where CPUs do not
/// announce a constant TSC, as in QEMU. If that is off by 250 ppm, KVM fails to set the
/// frequency of vCPUs, and their TSC ratio stays 0: for KVM the guest's TSC stands
/// still, and a TSC deadline comes late by all of its value.
pub fn calibrated() -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let measures = || fs::read_to_string(CLOCKSOURCES).context(CLOCKSOURCES);
    while measures()?.contains("tsc-early") {
        ensure!(
            Instant::now() < end,
            "the kernel is still measuring the TSC"
        );
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The time-stamp counter of the CPU that the caller runs on.
pub fn tsc() -> u64 {
    // SAFETY: every 64-bit CPU has the instruction.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The time-stamp counter of `cpu`.
pub fn tsc_on(cpu: usize) -> Result<u64> {
    on(cpu, tsc)
}

/// Adds `ticks` to a CPU's time-stamp counter.
pub fn advance_tsc(cpu: usize, ticks: u64) -> Result<()> {
    const TSC: u64 = 0x10;
    let path = format!("/dev/cpu/{cpu}/msr");
    let msr = File::options().read(true).write(true).open(&path);
    let msr = msr.context(path)?;
    let mut value = [0; 8];
    msr.read_exact_at(&mut value, TSC)?;
    let value = u64::from_ne_bytes(value).wrapping_add(ticks);
    Ok(msr.write_all_at(&value.to_ne_bytes(), TSC)?)
}
