// SPDX-License-Identifier: GPL-2.0
//! What is counted has an identity, by which a reader knows that it is still the same.

use crate::harness::Test;
use crate::host::debugfs::ProfileFile;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, State};
use crate::oracle::leaf;
use crate::oracle::snapshot::{RELEASE, TAKE};
use crate::vmm::{GARBAGE, Vcpu, Vm};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

pub fn tests() -> Vec<Test<Host>> {
    vec![
        Test::new("identity.of_host", State::Absent, of_host),
        Test::new("identity.of_vm", State::Absent, |host| {
            of_guests(host, "vm")
        }),
        Test::new("identity.of_vcpu", State::Absent, |host| {
            of_guests(host, "vcpu")
        }),
        Test::new("identity.another_vm", State::Absent, another_vm),
        Test::new("identity.of_scope", State::Absent, of_scope),
        Test::new("identity.epoch", State::Absent, epoch),
    ]
}

/// The identity and the epoch that a guest reads on a vCPU, live and from a snapshot
/// that it takes. They must be the same.
fn identity(vcpu: &mut Vcpu) -> Result<(u64, u32)> {
    let answers = vcpu.cpuids(&[
        (leaf::IDENTITY, GARBAGE),
        (leaf::PROTOCOL, GARBAGE),
        (leaf::SNAPSHOT, TAKE),
        (leaf::of_snapshot(leaf::IDENTITY), GARBAGE),
        (leaf::SNAPSHOT, RELEASE),
    ])?;
    let (id, epoch) = leaf::identity(answers[0])?;
    ensure!(answers[1][2] == epoch, "{answers:x?}");
    ensure!(answers[3] == answers[0], "{answers:x?}");
    Ok((id, epoch))
}

/// The identity that each vCPU of the VMs reads, in order.
fn of_all(vms: &mut [Vm]) -> Result<Vec<u64>> {
    let vcpus = vms.iter_mut().flat_map(|vm| &mut vm.vcpus);
    vcpus.map(|vcpu| Ok(identity(vcpu)?.0)).collect()
}

/// Exits, a switch of recording, and a reset, all of which leave identities as they
/// are.
fn go_on(vms: &mut [Vm]) -> Result<()> {
    for vm in vms {
        vm.hypercalls(23)?;
    }
    module::set_param(PROFILER, "recording", "N")?;
    module::set_param(PROFILER, "recording", "Y")?;
    module::set_param(PROFILER, "reset", "1")
}

/// All guests read the host's identity, which changes when the module is reloaded.
fn of_host(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vms = [Vm::with_vcpus(2)?, Vm::plain()?];
    let first = of_all(&mut vms)?;
    let id = first[0];
    ensure!(first == [id; 3], "{first:x?}");
    let head = ProfileFile::read()?.head().id()?;
    ensure!(head == id, "the file has {head:x}, guests {id:x}");
    go_on(&mut vms)?;
    let again = of_all(&mut vms)?;
    ensure!(again == first, "{first:x?}, then {again:x?}");
    let mut seen = BTreeSet::from([id]);
    for _ in 0..5 {
        host.reload("log=N")?;
        let another = of_all(&mut vms)?;
        ensure!(another == [another[0]; 3], "{another:x?}");
        ensure!(seen.insert(another[0]), "{:x} after a reload", another[0]);
    }
    Ok(format!("{id:x}, and {} others", seen.len() - 1))
}

/// Each guest, or each vCPU, reads an identity of its own. That of a vCPU is also in
/// the host's file.
fn of_guests(host: &mut Host, scope: &str) -> Result<String> {
    host.reload(&format!("log=N scope={scope}"))?;
    let mut vms = [Vm::with_vcpus(2)?, Vm::with_vcpus(2)?, Vm::plain()?];
    let first = of_all(&mut vms)?;
    let [a, b, c, d, _] = first[..] else {
        anyhow::bail!("not five vCPUs")
    };
    let (want, shared) = match scope {
        "vm" => (3, true),
        _ => (5, false),
    };
    let different = BTreeSet::from_iter(&first).len();
    ensure!(different == want, "{first:x?}");
    ensure!((a == b) == shared && (c == d) == shared, "{first:x?}");
    let file = ProfileFile::read()?;
    ensure!(
        !first.contains(&file.head().id()?),
        "the host's: {first:x?}"
    );
    if scope == "vcpu" {
        let mut ids = first.iter();
        for vm in &vms {
            for vcpu in &vm.vcpus {
                let mut attached = file.of_vcpu("attached", vm, vcpu.id());
                let line = attached.next().context("no line")?;
                ensure!(Some(&line.id()?) == ids.next(), "{line:?}: {first:x?}");
                for row in file.of_vcpu("vcpu", vm, vcpu.id()) {
                    ensure!(row.id()? == line.id()?, "{row:?}, {line:?}");
                }
            }
        }
    }
    go_on(&mut vms)?;
    let again = of_all(&mut vms)?;
    ensure!(again == first, "{first:x?}, then {again:x?}");
    host.reload(&format!("log=N scope={scope}"))?;
    let reloaded = of_all(&mut vms)?;
    let common = reloaded.iter().filter(|id| first.contains(id)).count();
    ensure!(common == 0, "{first:x?}, reloaded {reloaded:x?}");
    Ok(format!("{different} different identities of 5 vCPUs"))
}

/// A guest that is started again has another identity, although KVM gives it the same
/// name.
fn another_vm(host: &mut Host) -> Result<String> {
    const TIMES: usize = 20;
    host.reload("log=N")?;
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..TIMES {
        let mut vm = Vm::plain()?;
        names.insert(vm.name());
        for scope in ["vm", "vcpu"] {
            module::set_param(PROFILER, "scope", scope)?;
            let (id, _) = identity(&mut vm.vcpus[0])?;
            ensure!(ids.insert(id), "{id:x} again, of {ids:x?}");
        }
    }
    ensure!(names.len() == 1, "names {names:?}");
    Ok(format!("{} identities of {names:?}", ids.len()))
}

/// The identity changes with the scope, and returns with it.
fn of_scope(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let mut read = || -> Result<_> {
        let mut ids = Vec::new();
        for scope in ["host", "vm", "vcpu"] {
            module::set_param(PROFILER, "scope", scope)?;
            ids.push(identity(&mut vm.vcpus[0])?.0);
        }
        Ok(ids)
    };
    let (first, again) = (read()?, read()?);
    ensure!(BTreeSet::from_iter(&first).len() == 3, "{first:x?}");
    ensure!(again == first, "{first:x?}, then {again:x?}");
    Ok(format!("{first:x?}"))
}

/// Each reset begins another epoch, and leaves the identity as it is.
fn epoch(host: &mut Host) -> Result<String> {
    const TIMES: usize = 20;
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let (id, first) = identity(&mut vm.vcpus[0])?;
    let mut epochs = BTreeSet::from([first]);
    for _ in 0..TIMES {
        let same = identity(&mut vm.vcpus[0])?;
        ensure!(epochs.contains(&same.1), "{same:x?} without a reset");
        module::set_param(PROFILER, "reset", "1")?;
        let (now, epoch) = identity(&mut vm.vcpus[0])?;
        ensure!(now == id, "{now:x} after a reset, {id:x} before");
        ensure!(epochs.insert(epoch), "{epoch:x} again, of {epochs:x?}");
        let head = ProfileFile::read()?;
        let told = (head.head().id()?, head.head().number("epoch")?);
        ensure!(told == (id, epoch.into()), "{:?}", head.head());
    }
    Ok(format!("{} epochs of {id:x}", epochs.len()))
}
