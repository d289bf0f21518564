// SPDX-License-Identifier: GPL-2.0
//! What is counted has a number, by which a reader knows that it is the same still.

use super::leaves::ask_on;
use super::test;
use crate::harness::runner::Test;
use crate::host::module::{self, Host, PROFILER, State};
use crate::host::text::Text;
use crate::oracle::leaf;
use crate::vmm::guest::{GARBAGE, Program};
use crate::vmm::ops::Op;
use crate::vmm::vm::{Vcpu, Vm};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

pub fn tests() -> Vec<Test> {
    vec![
        test("identity.of_host", State::Absent, of_host),
        test("identity.of_vm", State::Absent, |host| {
            of_guests(host, "vm")
        }),
        test("identity.of_vcpu", State::Absent, |host| {
            of_guests(host, "vcpu")
        }),
        test("identity.another_vm", State::Absent, another_vm),
        test("identity.of_scope", State::Absent, of_scope),
        test("identity.epoch", State::Absent, epoch),
    ]
}

/// The number and the epoch that a guest reads on a vCPU, of the present and in a
/// snapshot, which it takes: they are one.
fn identity(vcpu: &mut Vcpu) -> Result<(u64, u32)> {
    let answers = ask_on(
        vcpu,
        &[
            (leaf::IDENTITY, GARBAGE),
            (leaf::PROTOCOL, GARBAGE),
            (leaf::SNAPSHOT, 1),
            (leaf::of_snapshot(leaf::IDENTITY), GARBAGE),
            (leaf::SNAPSHOT, 0),
        ],
    )?;
    let (id, epoch) = leaf::identity(answers[0])?;
    ensure!(answers[1][2] == epoch, "{answers:x?}");
    ensure!(answers[3] == answers[0], "{answers:x?}");
    Ok((id, epoch))
}

/// The number of each vCPU of the VMs, in order.
fn of_all(vms: &mut [Vm]) -> Result<Vec<u64>> {
    let vcpus = vms.iter_mut().flat_map(|vm| &mut vm.vcpus);
    vcpus.map(|vcpu| Ok(identity(vcpu)?.0)).collect()
}

/// Exits, switching, and a reset, after which numbers are what they were.
fn go_on(vms: &mut [Vm]) -> Result<()> {
    let mut program = Program::new();
    program.repeat(Op::Vmcall, 23, 0);
    for vm in vms {
        vm.run(&program)?;
    }
    module::set_param(PROFILER, "recording", "N")?;
    module::set_param(PROFILER, "recording", "Y")?;
    module::set_param(PROFILER, "reset", "1")
}

/// All guests read the host's, until the module is loaded again.
fn of_host(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vms = [Vm::with_vcpus(2)?, Vm::plain()?];
    let first = of_all(&mut vms)?;
    let id = first[0];
    ensure!(first == [id; 3], "{first:x?}");
    let head = Text::read()?.head().id()?;
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

/// Each guest, or each vCPU, has one of its own, and no other; a vCPU has the one
/// that the host's file has.
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
    let text = Text::read()?;
    ensure!(
        !first.contains(&text.head().id()?),
        "the host's: {first:x?}"
    );
    if scope == "vcpu" {
        let mut ids = first.iter();
        for vm in &vms {
            for vcpu in &vm.vcpus {
                let is_own = |line: &&crate::host::text::Line| {
                    let own = (line.text("vm").ok(), line.number("vcpu").ok());
                    own == (Some(&vm.name()), Some(vcpu.id().into()))
                };
                let line = text.of("attached").find(is_own).context("no line")?;
                ensure!(Some(&line.id()?) == ids.next(), "{line:?}: {first:x?}");
                for row in text.of("vcpu").filter(is_own) {
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
    Ok(format!("{different} of 5 vCPUs' are different"))
}

/// A guest that is started again is not counted on, although its host calls it by the
/// same name.
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
    Ok(format!("{} numbers of {names:?}", ids.len()))
}

/// A guest that is told of something else from now on can tell that, and that it is
/// told of the first thing again.
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

/// Each reset begins another epoch of the same thing.
fn epoch(host: &mut Host) -> Result<String> {
    const TIMES: usize = 20;
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    let (id, first) = identity(&mut vm.vcpus[0])?;
    let mut epochs = BTreeSet::from([first]);
    for _ in 0..TIMES {
        let same = identity(&mut vm.vcpus[0])?;
        ensure!(epochs.contains(&same.1), "{same:x?}: without a reset");
        module::set_param(PROFILER, "reset", "1")?;
        let (now, epoch) = identity(&mut vm.vcpus[0])?;
        ensure!(now == id, "{now:x} after a reset, {id:x} before");
        ensure!(epochs.insert(epoch), "{epoch:x} again, of {epochs:x?}");
        let head = Text::read()?;
        let told = (head.head().id()?, head.head().number("epoch")?);
        ensure!(told == (id, epoch.into()), "{:?}", head.head());
    }
    Ok(format!("{} epochs of {id:x}", epochs.len()))
}
