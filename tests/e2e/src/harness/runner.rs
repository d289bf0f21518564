// SPDX-License-Identifier: GPL-2.0
//! Runs tests one after the other, each in the state that it asks for, and
//! has an eye on the kernel's log.

use crate::harness::init;
use crate::harness::ktap::{Ktap, Verdict};
use crate::harness::watchdog;
use crate::host::debug::{self, PerCpu};
use crate::host::kmsg::Kmsg;
use crate::host::module::{Host, State};
use anyhow::Result;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One test of the run.
pub struct Test {
    pub name: String,
    /// What must be loaded when it starts.
    pub state: State,
    /// After how many seconds it hangs.
    pub seconds: u64,
    pub run: Run,
}

/// A test's body; it returns what is worth a note.
type Run = Box<dyn Fn(&mut Host) -> Result<String>>;

/// Why a test cannot be run here.
#[derive(Debug)]
pub struct Skip(String);

impl Skip {
    pub fn because(why: impl Into<String>) -> anyhow::Error {
        Self(why.into()).into()
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// What the watchdog needs to report a test that does not return.
struct Progress {
    ktap: Ktap,
    running: String,
}

type Shared = Arc<Mutex<Progress>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Progress> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `tests`, and after them one on the kernel's log as a whole; true if
/// all is well.
pub fn run(tests: &[Test], host: &mut Host, mut ktap: Ktap) -> Result<bool> {
    ktap.plan(tests.len() + 1);
    let mut log = Kmsg::from_boot()?;
    let shared = Arc::new(Mutex::new(Progress {
        ktap,
        running: String::new(),
    }));
    watchdog::start(Box::new({
        let shared = Arc::clone(&shared);
        move |stacks| give_up(&shared, &stacks)
    }));

    let patience = debug::patience();
    let per_cpu = PerCpu::now();
    let mut complaints = log.splats();
    for test in tests {
        lock(&shared).running.clone_from(&test.name);
        watchdog::arm(test.seconds * patience);
        let verdict = run_one(test, host);
        watchdog::disarm();
        if !matches!(verdict, Verdict::Passed(_)) {
            host.forget();
        }
        let progress = &mut *lock(&shared);
        progress.ktap.result(&test.name, &verdict);
        for line in log.splats() {
            progress.ktap.note(&format!("in the kernel's log: {line}"));
            complaints.push(format!("{}: {line}", test.name));
        }
    }

    let cleaned_up = host.unload_all();
    complaints.extend(per_cpu.grown());
    complaints.extend(debug::leaks().unwrap_or_else(|e| vec![format!("{e:#}")]));
    complaints.extend(log.splats());
    let verdict = match (complaints.is_empty(), cleaned_up) {
        (true, Ok(())) => Verdict::Passed(String::new()),
        (true, Err(e)) => Verdict::Failed(format!("{e:#}")),
        (false, _) => Verdict::Failed(complaints.join(", ")),
    };
    let progress = &mut *lock(&shared);
    progress.ktap.result("log.no_complaints", &verdict);
    Ok(progress.ktap.summary())
}

fn run_one(test: &Test, host: &mut Host) -> Verdict {
    let run = || {
        host.reach(test.state)?;
        (test.run)(host)
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

/// Ends a run whose present test the kernel does not let go of.
fn give_up(shared: &Shared, stacks: &[String]) {
    let progress = &mut *lock(shared);
    let verdict = Verdict::Failed("hang: the test did not give up".into());
    progress.ktap.result(&progress.running, &verdict);
    for line in stacks {
        progress.ktap.note(line);
    }
    let log = Kmsg::from_boot().and_then(|mut log| log.drain());
    let log = log.unwrap_or_default();
    for line in &log[log.len().saturating_sub(40)..] {
        progress.ktap.note(line);
    }
    progress.ktap.summary();
    if init::is_init() {
        init::power_off();
    }
    std::process::exit(1);
}
