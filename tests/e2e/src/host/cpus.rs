// SPDX-License-Identifier: GPL-2.0
//! The host's CPUs: which there are, which are online, and which a thread may
//! use.

use crate::harness::runner::Skip;
use crate::vmm::cpu;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use std::{io, thread};

const DIR: &str = "/sys/devices/system/cpu";
const CLOCKSOURCES: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";

/// The CPUs that are online, by number.
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

/// The CPUs for vCPUs: all that are online, but in QEMU's emulator not CPU 0 if
/// there are others. Each of these, when it restores its FPU's state, changes CPU
/// 0's `hflags2`, by a load and a store that may lose what CPU 0 notes there: that
/// it has entered a guest, or left it (`cpu_clear_ignne()` in QEMU's
/// `target/i386/tcg/system/fpu_helper.c`, called without a lock by
/// `cpu_set_fpus()`). Then it takes the host's memory for the guest's.
pub fn usable() -> Result<Vec<usize>> {
    let mut cpus = online()?;
    if cpu::is_qemus() && cpus.len() > 1 {
        cpus.retain(|&cpu| cpu != 0);
    }
    Ok(cpus)
}

/// The first CPU for vCPUs, which is never taken offline.
pub fn first() -> Result<usize> {
    usable()?.first().copied().context("no CPU is online")
}

/// The last CPU for vCPUs, for tests that need another than the first.
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

/// Does something on one CPU.
pub fn on<T>(cpu: usize, what: impl FnOnce() -> T) -> Result<T> {
    pin(0, &[cpu])?;
    let done = what();
    pin(0, &usable()?)?;
    Ok(done)
}

/// Does something by which the kernel changes code that guests make it execute:
/// on all CPUs but in QEMU's emulator, where one has to do. When a CPU stores to
/// code, QEMU drops its translation first. Another CPU may translate the old code
/// anew before the store; it, and all, then keep that, and the host dies of a
/// breakpoint that is long gone.
pub fn changing_code<T>(what: impl FnOnce() -> Result<T>) -> Result<T> {
    if cpu::is_qemus() {
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

    /// Brings it back, and tells whether that worked.
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

/// Waits until the kernel has ended measuring how fast TSCs tick: a second after
/// boot, or some more if it was disturbed. It has a clock of another name till then.
///
/// KVM notes what has been found so far when it is loaded, where CPUs do not say that
/// their TSC is constant, as QEMU's do not. If that was too little, by 250 ppm, KVM
/// fails to set the frequency of each vCPU, which leaves a ratio of 0: it takes the
/// guest's TSC to stand still, and a TSC deadline is late by all of its value.
pub fn calibrated() -> Result<()> {
    let end = Instant::now() + Duration::from_secs(60);
    let measures = || fs::read_to_string(CLOCKSOURCES).context(CLOCKSOURCES);
    while measures()?.contains("tsc-early") {
        ensure!(Instant::now() < end, "the kernel still measures the TSC");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The time-stamp counter of the CPU that the caller runs on.
pub fn tsc() -> u64 {
    // SAFETY: every CPU that Linux 6.1 runs on in 64-bit mode has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// That of `cpu`.
pub fn tsc_on(cpu: usize) -> Result<u64> {
    on(cpu, tsc)
}

/// Puts `ticks` on top of a CPU's time-stamp counter.
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
