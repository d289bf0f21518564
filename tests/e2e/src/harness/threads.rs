// SPDX-License-Identifier: GPL-2.0
//! Threads: their numbers, work beside a test, and kicks.

use anyhow::{Context, Result};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

/// The kernel's number of the calling thread.
pub fn id() -> libc::pid_t {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

/// The numbers of all threads of this process.
pub fn all() -> Vec<libc::pid_t> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten();
    let name = |e: fs::DirEntry| e.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(name).collect()
}

/// Does `what` in a thread of its own, and waits until the kernel has no such thread any more.
/// When a thread has been joined, the kernel still has to end it.
pub fn to_its_end<T: Send>(what: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| (id(), what()));
        let (tid, done) = thread.join().ok().context("a thread panicked")?;
        while all().contains(&tid) {
            thread::yield_now();
        }
        done
    })
}

/// Does `what` while a thread for each of `works` repeats it.
pub fn beside<T, W>(
    works: impl IntoIterator<Item = W>,
    what: impl FnOnce() -> Result<T>,
) -> Result<T>
where
    W: FnMut() -> Result<()> + Send,
{
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let start = |mut work: W| {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    work()?;
                }
                anyhow::Ok(())
            })
        };
        let threads: Vec<_> = works.into_iter().map(start).collect();
        let done = what();
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().ok().context("a thread panicked")??;
        }
        done
    })
}

/// Gives the signal of [`kick`] a handler.
pub fn allow_kicks() {
    extern "C" fn nothing(_: libc::c_int) {}

    // SAFETY: the handler does nothing. Without SA_RESTART the signal makes a
    // blocking system call return EINTR.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
}

/// Interrupts the thread's system call. Returns whether the thread exists.
pub fn kick(tid: libc::pid_t) -> bool {
    // SAFETY: a signal to a thread of this process, or to none. The watchdog has
    // given it a handler.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) == 0 }
}

/// Does `what` in a thread, and kicks that thread all the time. Pauses of every
/// length between the kicks let it get on. Also returns the number of kicks.
pub fn kicking<T: Send>(what: impl FnOnce() -> Result<T> + Send) -> Result<(T, u32)> {
    let target = AtomicI32::new(0);
    thread::scope(|scope| {
        let kicked = scope.spawn(|| {
            target.store(id(), Ordering::Release);
            what()
        });
        let mut kicks = 0_u32;
        while !kicked.is_finished() {
            match target.load(Ordering::Acquire) {
                0 => thread::yield_now(),
                tid => kicks += u32::from(kick(tid)),
            }
            for _ in 0..500 + kicks % 2003 * 2 {
                std::hint::spin_loop();
            }
        }
        let result = kicked.join().ok().context("the kicked thread panicked")?;
        Ok((result?, kicks))
    })
}
