// SPDX-License-Identifier: GPL-2.0
//! All tests, in the order in which they run.

mod absent;
mod books;
mod bpf;
mod console;
mod control;
mod count;
mod details;
mod doctored;
mod files;
mod fuzz;
mod identity;
mod leaf;
mod load;
mod log;
mod nested;
mod phases;
mod profile;
mod query;
mod recording;
mod scope;
mod sleep;
mod smp;
mod snapshot;
mod total;
mod unload;
mod vcpu;

use crate::harness::{Effort, Test};
use crate::host::Host;

pub fn all(effort: Effort) -> Vec<Test<Host>> {
    let mut tests = Vec::new();
    tests.extend(absent::tests());
    tests.extend(leaf::tests());
    tests.extend(total::tests());
    tests.extend(recording::tests());
    tests.extend(count::tests());
    tests.extend(books::tests());
    tests.extend(nested::tests());
    tests.extend(vcpu::tests(effort));
    tests.extend(files::tests());
    tests.extend(vcpu::waiting::tests());
    tests.extend(scope::tests());
    tests.extend(snapshot::tests());
    tests.extend(identity::tests());
    tests.extend(query::tests());
    tests.extend(profile::tests());
    tests.extend(phases::tests());
    tests.extend(details::tests());
    tests.extend(bpf::tests());
    tests.extend(control::tests());
    tests.extend(fuzz::tests(effort));
    tests.extend(log::tests());
    tests.extend(console::tests());
    tests.extend(load::tests());
    tests.extend(unload::tests(effort));
    tests.extend(sleep::tests());
    tests.extend(doctored::tests());
    tests.extend(smp::tests());
    tests
}
