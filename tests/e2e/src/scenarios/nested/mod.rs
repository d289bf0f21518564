// SPDX-License-Identifier: GPL-2.0
//! A guest hypervisor with a guest of its own: each exit of either is counted once, no
//! matter who handles it.

pub mod entries;
mod exits;
mod instructions;
pub mod setup;

use crate::harness::Test;
use crate::host::{Host, State};
use anyhow::Result;

pub fn tests() -> Vec<Test<Host>> {
    let profiled = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("nested.{name}"), State::Profiled, run)
    };
    vec![
        profiled("instructions", instructions::instructions),
        profiled("shortcuts", instructions::shortcuts),
        profiled("reflected", exits::reflected),
        profiled("handled_by_host", exits::handled_by_host),
        profiled("details", exits::details),
        profiled("hidden_reason", exits::hidden_reason),
        profiled("failed_entries", entries::failed_entries),
        profiled("kicked", exits::kicked),
    ]
}
