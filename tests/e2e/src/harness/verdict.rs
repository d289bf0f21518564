// SPDX-License-Identifier: GPL-2.0
//! How a test ends.

use std::fmt;

/// The end of a test, with a note for the report.
pub enum Verdict {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// The error of a test that this machine cannot run.
#[derive(Debug)]
pub struct Skip(pub(super) String);

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
