// SPDX-License-Identifier: GPL-2.0
//! All tests, in the order in which they run.

use crate::harness::effort::Effort;
use crate::harness::runner::Test;
use crate::host::module::{Host, State};
use crate::oracle::workloads::WORKLOADS;
use anyhow::Result;

mod absent;
mod books;
mod console;
mod counts;
mod doctored;
mod files;
mod fuzz;
mod identity;
mod leaves;
mod lifetime;
mod log;
mod nested;
mod profile;
mod query;
mod reload;
mod scope;
mod sleep;
mod smp;
mod totals;
mod vcpus;
mod waiting;

/// The whole run.
pub fn all(effort: Effort) -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(absent::tests());
    tests.extend(leaves::tests());
    tests.extend(totals::tests());
    tests.extend(WORKLOADS.iter().filter(|w| w.exists()).map(|workload| {
        let run = |host: &mut Host| workload.run(host);
        test(&format!("count.{}", workload.name), State::Profiled, run)
    }));
    tests.extend(counts::tests());
    tests.extend(books::tests());
    tests.extend(nested::tests());
    tests.extend(vcpus::tests(effort));
    tests.extend(files::tests());
    tests.extend(waiting::tests());
    tests.extend(scope::tests());
    tests.extend(identity::tests());
    tests.extend(query::tests());
    tests.extend(profile::tests());
    tests.extend(fuzz::tests(effort));
    tests.extend(log::tests());
    tests.extend(console::tests());
    tests.extend(lifetime::tests());
    tests.extend(reload::tests(effort));
    tests.extend(sleep::tests());
    tests.extend(doctored::tests());
    tests.extend(smp::tests());
    tests
}

/// A test that takes seconds, and hangs if it takes minutes: machines may be busy.
fn test(name: &str, state: State, run: impl Fn(&mut Host) -> Result<String> + 'static) -> Test {
    Test {
        name: name.into(),
        state,
        seconds: 180,
        run: Box::new(run),
    }
}
