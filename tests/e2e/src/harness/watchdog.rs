// SPDX-License-Identifier: GPL-2.0
//! Turns a hang into a failure that names the test.
//!
//! When a test's time is up, every thread is kicked out of its system call
//! until the test has given up by itself ([`check`] tells it to). One that
//! cannot, because the kernel holds it, ends the whole run.

use anyhow::{Context, Result, bail};
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Milliseconds since [`start`] at which the running test has failed; 0
/// while none runs.
static DEADLINE: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<Instant> = OnceLock::new();
/// Milliseconds that a test has for giving up.
const GRACE: u64 = 20_000;

/// What to do with a test that cannot be stopped; must not return.
pub type OnHang = Box<dyn FnOnce(Vec<String>) + Send>;

/// Starts the watching thread.
pub fn start(on_hang: OnHang) {
    START.get_or_init(Instant::now);
    // SAFETY: the handler does nothing; without SA_RESTART the signal makes
    // a blocking system call return EINTR, which is all that is wanted.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
    let mut on_hang = Some(on_hang);
    thread::spawn(move || {
        // SAFETY: gettid has no preconditions.
        let own = unsafe { libc::gettid() };
        // The deadline for which the console has been told where threads are.
        let mut told = 0;
        loop {
            thread::sleep(Duration::from_millis(200));
            let deadline = DEADLINE.load(Ordering::Relaxed);
            if deadline == 0 || now() < deadline {
                continue;
            }
            if told != deadline {
                told = deadline;
                stacks()
                    .iter()
                    .for_each(|line| eprintln!("e2e: hang: {line}"));
            }
            for tid in threads().into_iter().filter(|&tid| tid != own) {
                kick(tid);
            }
            if now() > deadline + GRACE {
                if let Some(on_hang) = on_hang.take() {
                    on_hang(stacks());
                }
            }
        }
    });
}

/// Gives the test that begins `seconds`.
pub fn arm(seconds: u64) {
    DEADLINE.store(now() + seconds * 1000, Ordering::Relaxed);
}

/// The test has ended.
pub fn disarm() {
    DEADLINE.store(0, Ordering::Relaxed);
}

/// Fails once the running test's time is up.
pub fn check() -> Result<()> {
    let deadline = DEADLINE.load(Ordering::Relaxed);
    if deadline != 0 && now() >= deadline {
        bail!("hang: the test's time is up");
    }
    Ok(())
}

fn now() -> u64 {
    let elapsed = START.get().map_or(Duration::ZERO, Instant::elapsed);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

extern "C" fn nothing(_: libc::c_int) {}

fn threads() -> Vec<libc::pid_t> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten();
    let name = |e: fs::DirEntry| e.file_name().to_str()?.parse().ok();
    entries.flatten().filter_map(name).collect()
}

/// Interrupts whatever system call the thread is in; false if it has ended.
pub fn kick(tid: libc::pid_t) -> bool {
    // SAFETY: a signal with a handler, to a thread of this process or to none.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) == 0 }
}

/// Does `body` while another thread wants it back all the time, but with pauses
/// of every length, so that it gets on. Also returns how often.
pub fn kicking<T: Send>(body: impl FnOnce() -> Result<T> + Send) -> Result<(T, u32)> {
    let target = AtomicI32::new(0);
    thread::scope(|scope| {
        let kicked = scope.spawn(|| {
            // SAFETY: gettid has no preconditions.
            target.store(unsafe { libc::gettid() }, Ordering::Release);
            body()
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

/// Where the threads hang in the kernel, as far as it tells.
fn stacks() -> Vec<String> {
    let stack = |tid| {
        let text = fs::read_to_string(format!("/proc/self/task/{tid}/stack"));
        format!(
            "thread {tid}: {}",
            text.unwrap_or_default().replace('\n', " ")
        )
    };
    threads().into_iter().map(stack).collect()
}
