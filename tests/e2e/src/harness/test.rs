// SPDX-License-Identifier: GPL-2.0
//! A test, and the machine that it runs on.

use anyhow::Result;

/// The machine under test.
pub trait Machine {
    /// What a test wants to find, such as the loaded modules.
    type State: Copy;

    /// Brings the machine into `state`.
    fn reach(&mut self, state: Self::State) -> Result<()>;

    /// Assumes nothing about the state any more.
    fn forget(&mut self);

    /// Returns what the machine has complained about since the last call.
    fn complaints(&mut self) -> Vec<String>;

    /// Takes back what the tests have set up, and returns what is wrong then.
    fn clean_up(&mut self) -> Vec<String>;

    /// Returns the machine's last words, for the report of a hang.
    fn last_words() -> Vec<String>;

    /// How many times longer than usual a test may take.
    fn patience() -> u64;
}

/// One test of a run.
pub struct Test<M: Machine> {
    pub name: String,
    pub(super) state: M::State,
    pub(super) seconds: u64,
    pub(super) run: Body<M>,
}

/// A test's body returns a note for the report.
type Body<M> = Box<dyn Fn(&mut M) -> Result<String>>;

impl<M: Machine> Test<M> {
    /// A test that starts in `state`.
    ///
    /// Tests take seconds. The limit is three minutes, because machines may be busy.
    pub fn new(
        name: impl Into<String>,
        state: M::State,
        run: impl Fn(&mut M) -> Result<String> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            state,
            seconds: 180,
            run: Box::new(run),
        }
    }

    /// Sets another limit.
    pub fn seconds(self, seconds: u64) -> Self {
        Self { seconds, ..self }
    }
}
