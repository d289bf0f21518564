// SPDX-License-Identifier: GPL-2.0
//! What KVM must refuse, made out of the profiler's module by changing bytes: a
//! module that was built for another contract, and a second profiler.

use super::test;
use crate::module::{self, Host, State, describe, errno};
use crate::runner::Test;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;

pub fn tests() -> Vec<Test> {
    vec![
        test("load.other_contract", State::Absent, other_contract),
        test("load.other_layout", State::Absent, other_layout),
        test("load.second_profiler", State::Profiled, second_profiler),
    ]
}

/// The contract's version and size, and two pointers that are yet to come.
const OPS: [u8; 24] = {
    let mut ops = [0; 24];
    ops[0] = 1;
    ops[4] = 24;
    ops
};

fn other_contract(host: &mut Host) -> Result<String> {
    let mut ops = OPS;
    ops[0] = 2;
    refused(host, &OPS, &ops, 1, libc::EINVAL)
}

fn other_layout(host: &mut Host) -> Result<String> {
    let mut ops = OPS;
    ops[4] = 32;
    refused(host, &OPS, &ops, 1, libc::EINVAL)
}

fn second_profiler(host: &mut Host) -> Result<String> {
    refused(host, b"kvm_exitprof\0", b"kvm_exitpro2\0", 3, libc::EBUSY)
}

/// Loads the module with each of at least `least` occurrences of `from` changed
/// to `to`, and demands the error `want`.
fn refused(host: &Host, from: &[u8], to: &[u8], least: usize, want: i32) -> Result<String> {
    let mut image = fs::read(host.profiler()).context("the module")?;
    let mut changed = 0;
    for at in 0..image.len() - from.len() {
        if image[at..].starts_with(from) {
            image[at..at + to.len()].copy_from_slice(to);
            changed += 1;
        }
    }
    ensure!(changed >= least, "{changed} places to change");
    let path = Path::new("/tmp/doctored.ko");
    fs::write(path, image)?;
    let got = errno(&module::insert(path, ""));
    fs::remove_file(path)?;
    ensure!(
        got == want,
        "insmod: {}, want {}",
        describe(got),
        describe(want)
    );
    Ok(format!("insmod: {}", describe(got)))
}
