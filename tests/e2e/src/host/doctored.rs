// SPDX-License-Identifier: GPL-2.0
//! The profiler's module with bytes changed: built for another contract, under another
//! name, or without memory.

use super::module::{self, describe, errno};
use super::state::Host;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::PathBuf;

/// A change of the module, and the error with which loading it must fail.
pub struct Change {
    name: &'static str,
    /// What is changed: the first of these that the module has.
    from: &'static [&'static [u8]],
    /// Not longer than what is changed. The rest becomes zeros.
    to: &'static [u8],
    error: i32,
}

/// The first fields of the contract, and three pointers that relocation fills in.
const fn contract([version, size, sample, vcpu, clock]: [u8; 5]) -> [u8; 48] {
    let mut ops = [0; 48];
    ops[0] = version;
    ops[4] = size;
    ops[8] = sample;
    ops[12] = vcpu;
    ops[16] = clock;
    ops
}

/// The contract's version and size, and the sizes of a sample, of a vCPU's description
/// and of its pause.
const CONTRACT: [u8; 48] = contract([VERSION, 88, 56, 32, 16]);
const VERSION: u8 = 5;

/// A contract with another number.
const fn changed(name: &'static str, to: &'static [u8]) -> Change {
    Change {
        name,
        from: &[&CONTRACT],
        to,
        error: libc::EINVAL,
    }
}

pub const OTHER_CONTRACT: Change =
    changed("other_contract", &contract([VERSION - 1, 88, 56, 32, 16]));
pub const OTHER_LAYOUT: Change = changed("other_layout", &contract([VERSION, 96, 56, 32, 16]));
pub const OTHER_SAMPLE: Change = changed("other_sample", &contract([VERSION, 88, 64, 32, 16]));
pub const OTHER_VCPU: Change = changed("other_vcpu", &contract([VERSION, 88, 56, 40, 16]));
pub const OTHER_PAUSE: Change = changed("other_pause", &contract([VERSION, 88, 56, 32, 24]));

pub const SECOND_PROFILER: Change = Change {
    name: "second_profiler",
    from: &[b"kvm_exitprof\0"],
    to: b"kvm_exitpro2\0",
    error: libc::EBUSY,
};

/// Without per-CPU memory: the module calls another function of the kernel's, which
/// returns NULL. It computes size to the power of alignment in 64 bits, where the size
/// is a multiple of the alignment, 16.
pub const WITHOUT_MEMORY: Change = Change {
    name: "without_memory",
    from: &[b"\0__alloc_percpu\0", b"\0pcpu_alloc_noprof\0"],
    to: b"\0int_pow\0",
    error: libc::ENOMEM,
};

/// Without memory for vCPUs: that function returns NULL in place of `__kmalloc()`. It
/// computes an even size to the power of flags above 63.
pub const WITHOUT_VCPU_MEMORY: Change = Change {
    name: "without_vcpu_memory",
    from: &[b"\0__kmalloc\0", b"\0__kmalloc_noprof\0"],
    to: b"\0int_pow\0",
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
        let places = |from: &[u8]| -> Vec<usize> {
            let all = 0..image.len() - from.len();
            all.filter(|&at| image[at..].starts_with(from)).collect()
        };
        let found = from.iter().map(|from| (from.len(), places(from)));
        let (len, places) = found
            .into_iter()
            .find(|(_, places)| !places.is_empty())
            .with_context(|| format!("{}: nothing to change", change.name))?;
        for at in places {
            image[at..at + len].fill(0);
            image[at..at + to.len()].copy_from_slice(to);
        }
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

    /// Checks that it cannot be loaded.
    pub fn refused(&self) -> Result<String> {
        let (got, want) = (errno(&module::insert(&self.path, "")), self.error);
        let text = format!("insmod: {}", describe(got));
        ensure!(got == want, "{text}, want {}", describe(want));
        Ok(text)
    }
}

impl Drop for Doctored {
    fn drop(&mut self) {
        // A file left in /tmp harms nobody.
        let _ = fs::remove_file(&self.path);
    }
}
