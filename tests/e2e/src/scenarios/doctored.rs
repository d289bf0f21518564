// SPDX-License-Identifier: GPL-2.0
//! Modules that KVM must refuse, and one that gets no memory.

use crate::harness::Test;
use crate::host::module::{self, PROFILER};
use crate::host::{
    Change, Doctored, Host, Kmsg, OTHER_CONTRACT, OTHER_LAYOUT, OTHER_PAUSE, OTHER_SAMPLE,
    OTHER_VCPU, SECOND_PROFILER, State, WITHOUT_MEMORY,
};
use crate::oracle::growth::still_counts;
use anyhow::{Result, ensure};

pub fn tests() -> Vec<Test<Host>> {
    let refused = |name, state, change: &'static Change| {
        Test::new(name, state, move |host| {
            Doctored::new(host, change)?.refused()
        })
    };
    vec![
        refused("load.other_contract", State::Absent, &OTHER_CONTRACT),
        refused("load.other_layout", State::Absent, &OTHER_LAYOUT),
        refused("load.other_sample", State::Absent, &OTHER_SAMPLE),
        refused("load.other_vcpu", State::Absent, &OTHER_VCPU),
        refused("load.other_pause", State::Absent, &OTHER_PAUSE),
        refused("load.second_profiler", State::Profiled, &SECOND_PROFILER),
        Test::new("load.without_memory", State::Absent, without_memory),
    ]
}

/// Loading fails without a trace, and works the next time.
fn without_memory(host: &mut Host) -> Result<String> {
    let doctored = Doctored::new(host, &WITHOUT_MEMORY)?;
    let mut log = Kmsg::from_now()?;
    let text = doctored.refused()?;
    let lines = log.drain()?;
    ensure!(lines.is_empty(), "logged {lines:?}");
    ensure!(!module::is_loaded(PROFILER), "loaded nevertheless");
    host.reload("")?;
    still_counts()?;
    Ok(text)
}
