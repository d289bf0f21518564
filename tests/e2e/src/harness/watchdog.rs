// SPDX-License-Identifier: GPL-2.0
//! Turns a hang into a failure that names the test.
//!
//! When a test's time is up, the watchdog kicks every thread out of its system
//! call until the test gives up by itself, which [`check`] tells it to. A test that
//! cannot, because the kernel holds it, ends the whole run.

use super::threads;
use anyhow::{Result, bail};
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Milliseconds after [`start`] at which the running test has failed, or 0.
static DEADLINE: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<Instant> = OnceLock::new();
/// Milliseconds in which a test must give up.
const GRACE: u64 = 20_000;

/// Handles a test that cannot be stopped. It gets the threads' stacks, and must not
/// return.
pub type OnHang = Box<dyn FnOnce(Vec<String>) + Send>;

/// Starts the watchdog's thread.
pub fn start(on_hang: OnHang) {
    START.get_or_init(Instant::now);
    threads::allow_kicks();
    let mut on_hang = Some(on_hang);
    thread::spawn(move || {
        let own = threads::id();
        // The deadline for which the console has shown the stacks.
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
            for tid in threads::all().into_iter().filter(|&tid| tid != own) {
                threads::kick(tid);
            }
            if now() > deadline + GRACE
                && let Some(on_hang) = on_hang.take()
            {
                on_hang(stacks());
            }
        }
    });
}

/// Gives the test that begins now `seconds`.
pub fn arm(seconds: u64) {
    DEADLINE.store(now() + seconds * 1000, Ordering::Relaxed);
}

/// Notes the test's end.
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

/// The threads' stacks in the kernel.
fn stacks() -> Vec<String> {
    let stack = |tid| {
        let text = fs::read_to_string(format!("/proc/self/task/{tid}/stack"));
        format!(
            "thread {tid}: {}",
            text.unwrap_or_default().replace('\n', " ")
        )
    };
    threads::all().into_iter().map(stack).collect()
}
