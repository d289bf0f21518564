// SPDX-License-Identifier: GPL-2.0
//! Runs tests one after the other, each in the state that it asks for, and
//! collects the machine's complaints.

use super::init;
use super::ktap::Ktap;
use super::test::{Machine, Test};
use super::verdict::{Skip, Verdict};
use super::watchdog;
use anyhow::Result;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the watchdog needs to report a test that does not return.
struct Progress {
    ktap: Ktap,
    running: String,
}

type Shared = Arc<Mutex<Progress>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Progress> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `tests`, and a last one that fails for any complaint. Returns whether all
/// is well.
pub fn run<M: Machine + 'static>(
    tests: &[Test<M>],
    machine: &mut M,
    mut ktap: Ktap,
) -> Result<bool> {
    ktap.plan(tests.len() + 1);
    let shared = Arc::new(Mutex::new(Progress {
        ktap,
        running: String::new(),
    }));
    watchdog::start(Box::new({
        let shared = Arc::clone(&shared);
        move |stacks| give_up::<M>(&shared, &stacks)
    }));

    let mut complaints = machine.complaints();
    for test in tests {
        lock(&shared).running.clone_from(&test.name);
        watchdog::arm(test.seconds * M::patience());
        let verdict = run_one(test, machine);
        watchdog::disarm();
        if !matches!(verdict, Verdict::Passed(_)) {
            machine.forget();
        }
        let progress = &mut *lock(&shared);
        progress.ktap.result(&test.name, &verdict);
        for line in machine.complaints() {
            progress.ktap.note(&format!("in the kernel's log: {line}"));
            complaints.push(format!("{}: {line}", test.name));
        }
    }

    complaints.extend(machine.clean_up());
    let verdict = match complaints.is_empty() {
        true => Verdict::Passed(String::new()),
        false => Verdict::Failed(complaints.join(", ")),
    };
    let progress = &mut *lock(&shared);
    progress.ktap.result("log.no_complaints", &verdict);
    Ok(progress.ktap.summary())
}

fn run_one<M: Machine>(test: &Test<M>, machine: &mut M) -> Verdict {
    let run = || {
        machine.reach(test.state)?;
        (test.run)(machine)
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(note)) => Verdict::Passed(note),
        Ok(Err(e)) => match e.downcast::<Skip>() {
            Ok(Skip(why)) => Verdict::Skipped(why),
            Err(e) => Verdict::Failed(format!("{e:#}")),
        },
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Verdict::Failed(text.unwrap_or_else(|| "the test panicked".into()))
        }
    }
}

/// Ends the run, because the kernel holds the running test.
fn give_up<M: Machine>(shared: &Shared, stacks: &[String]) {
    let progress = &mut *lock(shared);
    let verdict = Verdict::Failed("hang: the test did not give up".into());
    progress.ktap.result(&progress.running, &verdict);
    for line in stacks.iter().chain(&M::last_words()) {
        progress.ktap.note(line);
    }
    progress.ktap.summary();
    if init::is_init() {
        init::power_off();
    }
    std::process::exit(1);
}
