// SPDX-License-Identifier: GPL-2.0
//! What KVM must refuse, made out of the profiler's module by changing bytes: a
//! module that was built for another contract, and a second profiler; and one
//! that gets no memory.

use super::test;
use crate::harness::runner::Test;
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State, describe, errno};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;

pub fn tests() -> Vec<Test> {
    let refused = |name: &str, state, change: &'static Change| {
        test(name, state, move |host| {
            Doctored::new(host, change)?.refused()
        })
    };
    vec![
        refused("load.other_contract", State::Absent, &OTHER_CONTRACT),
        refused("load.other_layout", State::Absent, &OTHER_LAYOUT),
        refused("load.other_sample", State::Absent, &OTHER_SAMPLE),
        refused("load.other_vcpu", State::Absent, &OTHER_VCPU),
        refused("load.second_profiler", State::Profiled, &SECOND_PROFILER),
        test("load.without_memory", State::Absent, without_memory),
    ]
}

/// A change of the module, and the error that loading it then has to end with.
pub struct Change {
    name: &'static str,
    from: &'static [u8],
    to: &'static [u8],
    error: i32,
}

/// The first fields of the contract, and three pointers that are yet to come.
const fn contract([version, size, sample, vcpu]: [u8; 4]) -> [u8; 40] {
    let mut ops = [0; 40];
    ops[0] = version;
    ops[4] = size;
    ops[8] = sample;
    ops[12] = vcpu;
    ops
}

/// The version, and the sizes of the contract, of a sample, and of what is told of a
/// vCPU.
const CONTRACT: [u8; 40] = contract([2, 64, 16, 24]);

/// A contract of which one of these is another.
const fn changed(name: &'static str, to: &'static [u8]) -> Change {
    Change {
        name,
        from: &CONTRACT,
        to,
        error: libc::EINVAL,
    }
}

pub const OTHER_CONTRACT: Change = changed("other_contract", &contract([3, 64, 16, 24]));
const OTHER_LAYOUT: Change = changed("other_layout", &contract([2, 72, 16, 24]));
const OTHER_SAMPLE: Change = changed("other_sample", &contract([2, 64, 24, 24]));
const OTHER_VCPU: Change = changed("other_vcpu", &contract([2, 64, 16, 32]));

pub const SECOND_PROFILER: Change = Change {
    name: "second_profiler",
    from: b"kvm_exitprof\0",
    to: b"kvm_exitpro2\0",
    error: libc::EBUSY,
};

/// For per-CPU memory the module asks another function of the kernel's, which is
/// sure to answer NULL: size to the power of alignment, in 64 bits, where the
/// size is a multiple of the alignment, 16.
pub const WITHOUT_MEMORY: Change = Change {
    name: "without_memory",
    from: b"\0__alloc_percpu\0",
    to: b"\0int_pow\0\0\0\0\0\0\0\0",
    error: libc::ENOMEM,
};

/// For profiles of vCPUs and their snapshots, the same function answers NULL in
/// place of `__kmalloc()`: an even size to the power of flags above 63.
pub const WITHOUT_VCPU_MEMORY: Change = Change {
    name: "without_vcpu_memory",
    from: b"\0__kmalloc\0",
    to: b"\0int_pow\0\0\0",
    error: 0,
};

/// A changed module.
pub struct Doctored {
    path: PathBuf,
    error: i32,
}

impl Doctored {
    pub fn new(host: &Host, change: &Change) -> Result<Self> {
        let Change { from, to, .. } = *change;
        let mut image = fs::read(host.profiler()).context("the module")?;
        let mut changed = 0;
        for at in 0..image.len() - from.len() {
            if image[at..].starts_with(from) {
                image[at..at + to.len()].copy_from_slice(to);
                changed += 1;
            }
        }
        ensure!(changed > 0, "{}: nothing to change", change.name);
        let path = PathBuf::from(format!("/tmp/{}.ko", change.name));
        fs::write(&path, image)?;
        Ok(Self {
            path,
            error: change.error,
        })
    }

    /// Loads it, with `params`.
    pub fn load(&self, params: &str) -> Result<()> {
        module::insert(&self.path, params).context("the changed module")
    }

    /// Demands that it cannot be loaded.
    pub fn refused(&self) -> Result<String> {
        let (got, want) = (errno(&module::insert(&self.path, "")), self.error);
        let text = format!("insmod: {}", describe(got));
        ensure!(got == want, "{text}, want {}", describe(want));
        Ok(text)
    }
}

impl Drop for Doctored {
    fn drop(&mut self) {
        // What is left in /tmp harms nobody.
        let _ = fs::remove_file(&self.path);
    }
}

/// Loading ends without a trace, and can be repeated.
fn without_memory(host: &mut Host) -> Result<String> {
    let doctored = Doctored::new(host, &WITHOUT_MEMORY)?;
    let mut log = Kmsg::from_now()?;
    let text = doctored.refused()?;
    let lines = log.drain()?;
    ensure!(lines.is_empty(), "logged {lines:?}");
    ensure!(!module::is_loaded(PROFILER), "loaded nevertheless");
    host.reload("")?;
    super::lifetime::still_counts()?;
    Ok(text)
}
