// SPDX-License-Identifier: GPL-2.0
//! Exits of the guest's guest, for the hypervisor or for the host.

use super::super::details::{IN, NO_HYPERCALL, io};
use super::setup::without_shortcuts;
use crate::harness::threads;
use crate::host::Host;
use crate::host::debugfs::ProfileFile;
use crate::host::module::{self, PROFILER};
use crate::oracle::details::{Details, code};
use crate::oracle::growth::{HIDDEN, check_growth};
use crate::oracle::{K, leaf};
use crate::vmm::cpu::{CPUID, HYPERCALL, IO, Reason, WBINVD, pick};
use crate::vmm::nested::{self, CALL, Intercept, intercept};
use crate::vmm::{Op, Program, Regs, Vm, layout};
use anyhow::{Context, Result, ensure};

/// What goes to the hypervisor, unconditionally or by its intercepts.
const REFLECTED: &[Intercept] = &[
    CALL,
    intercept(Op::Cpuid, 0, CPUID, 2),
    intercept(Op::Hlt, 0, HLT, 1),
    intercept(Op::Invd, 0, Reason(13, 0x76), 2),
    intercept(Op::Rdmsr, 0x1b, Reason(31, 0x7c), 2),
    intercept(Op::WrmsrZero, 0x79, Reason(32, 0x7c), 2),
];

/// What KVM itself never intercepts, and so has no handler for.
const WITHOUT_HANDLER_VMX: &[Intercept] = &[
    intercept(Op::Rdtsc, 0, RDTSC, 2),
    intercept(Op::Rdtscp, 0, Reason(51, 0x87), 3),
];
/// KVM has a handler for SVM's RDTSCP.
const WITHOUT_HANDLER_SVM: &[Intercept] = &[intercept(Op::Rdtsc, 0, RDTSC, 2)];

const RDTSC: Reason = Reason(16, 0x6e);
const HLT: Reason = Reason(12, 0x78);

pub fn reflected(host: &mut Host) -> Result<String> {
    let mut oracle = without_shortcuts(host)?;
    let vm = reflect(REFLECTED, |intercept| intercept.reason.number())?;
    for intercept in REFLECTED {
        let reason = intercept.reason.number();
        let same = REFLECTED.iter().filter(|i| i.reason.number() == reason);
        let want = u64::from(K) * same.count() as u64;
        // The guest calls once more at its end.
        let most = want + u64::from(intercept.op == CALL.op);
        let (l2, reflected) = of_l2(&vm, reason)?;
        ensure!(
            (want..=most).contains(&l2) && reflected == l2,
            "{reason}: {l2} of L2, {reflected} reflected, want {want}"
        );
    }
    let total = oracle.check(&[&vm])?;
    Ok(format!(
        "{} times {K}, total {total} by all three",
        REFLECTED.len()
    ))
}

/// Leaf 02 counts what KVM has no handler for. Leaves FE and FF show nothing of it.
pub fn hidden_reason(host: &mut Host) -> Result<String> {
    let mut oracle = without_shortcuts(host)?;
    let intercepts = pick(WITHOUT_HANDLER_VMX, WITHOUT_HANDLER_SVM);
    let mut vm = reflect(intercepts, |_| HIDDEN)?;
    for intercept in intercepts {
        for leaf in [leaf::EXITS, leaf::CYCLES] {
            let shown = vm.cpuid(leaf, intercept.reason.number())?;
            ensure!(shown == [0; 4], "leaf {leaf:#x} answers {shown:x?}");
        }
    }
    let total = oracle.check(&[&vm])?;
    Ok(format!(
        "{} times {K} in leaf 02, total {total} by all three",
        intercepts.len()
    ))
}

/// How many exits of a reason came from the guest's guest, and how many of these were given
/// to its hypervisor.
fn of_l2(vm: &Vm, reason: u32) -> Result<(u64, u64)> {
    let file = ProfileFile::read()?;
    let number = reason.to_string();
    let mut rows = file.of_vcpu("vcpu", vm, 0);
    let row = rows.find(|line| line.text("reason").ok() == Some(&number));
    let row = row.with_context(|| format!("reason {reason} did not occur"))?;
    if !row.has("l2") {
        return Ok((0, 0));
    }
    let cycles = (row.number("l2_cycles")?, row.number("reflected_cycles")?);
    ensure!(
        cycles.1 <= cycles.0 && cycles.0 <= row.number("cycles")?,
        "{row:?}"
    );
    Ok((row.number("l2")?, row.number("reflected")?))
}

/// Checks that each exit of the guest's guest is counted once, under the reason that
/// `row` tells, and so is each instruction by which the hypervisor lets it go on.
fn reflect(intercepts: &[Intercept], row: fn(&Intercept) -> u32) -> Result<Vm> {
    let mut guest = Program::new();
    for intercept in intercepts {
        guest.repeat(intercept.op, K, intercept.arg);
    }
    let mut vm = nested::launch(&guest, intercepts)?;
    let mut len = CALL.len;
    for intercept in intercepts {
        let Intercept { op, reason, .. } = *intercept;
        let mut program = Program::new();
        for _ in 0..K {
            nested::go_on(&mut program, len);
            len = intercept.len;
        }
        let mut want = nested::cost(K);
        want.push((row(intercept), K));
        let results = check_growth(&mut vm, &program, &want).with_context(|| format!("{op:?}"))?;
        let told = |r: &[Regs]| r[1][0] == reason.number();
        ensure!(
            results.chunks_exact(2).all(told),
            "{op:?}: the hypervisor saw {results:x?}"
        );
    }
    Ok(vm)
}

/// What the host handles, without the hypervisor.
const HANDLED: &[(Op, u32, Reason)] = &[
    (Op::Out, 0, IO),
    (Op::In, 0, IO),
    (Op::Hlt, 0, HLT),
    (Op::Wbinvd, 0, WBINVD),
    (Op::Cr0Am, 0, Reason(28, 0x65)),
    (Op::Monitor, 0, Reason(39, 0x8a)),
    (Op::Touch, layout::UNTOUCHED, PAGE),
];

const PAGE: Reason = Reason(48, 0x400);

/// Each exit of the guest's guest is counted once. The hypervisor does not run until
/// its guest calls it.
pub fn handled_by_host(host: &mut Host) -> Result<String> {
    let mut oracle = without_shortcuts(host)?;
    let mut guest = Program::new();
    for &(op, arg, _) in HANDLED {
        guest.repeat(op, K, arg);
        guest.repeat(CALL.op, 1, CALL.arg);
    }
    let mut vm = nested::launch(&guest, &[])?;
    let call = HYPERCALL.number();
    for &(op, _, reason) in HANDLED {
        let mut program = Program::new();
        nested::go_on(&mut program, CALL.len);
        let mut want = nested::cost(1);
        want.extend([(call, 1), (reason.number(), K)]);
        let results = check_growth(&mut vm, &program, &want).with_context(|| format!("{op:?}"))?;
        ensure!(
            results[1][0] == call,
            "{op:?}: the hypervisor saw {results:x?}"
        );
    }
    for &(_, _, reason) in HANDLED {
        let number = reason.number();
        let times = HANDLED
            .iter()
            .filter(|(.., r)| r.number() == number)
            .count();
        let want = u64::from(K) * times as u64;
        let (l2, reflected) = of_l2(&vm, number)?;
        // Its code and data are not mapped at first, either.
        let is_known = l2 == want || (l2 > want && reason == PAGE);
        ensure!(
            is_known && reflected == 0,
            "{number}: {l2} of L2, {reflected} reflected, want {want}"
        );
    }
    let total = oracle.check(&[&vm])?;
    Ok(format!(
        "{} times {K}, total {total} by all three",
        HANDLED.len()
    ))
}

/// What is behind exits of the guest's guest is not added to what is behind its hypervisor's.
pub fn details(host: &mut Host) -> Result<String> {
    let mut oracle = without_shortcuts(host)?;
    module::set_param(PROFILER, "details", "all")?;
    module::set_param(PROFILER, "code", "exact")?;
    let mut guest = Program::repeated(Op::In, K, 0);
    guest.repeat(CALL.op, 1, CALL.arg);
    let mut vm = nested::launch(&guest, &[])?;
    let mut program = Program::repeated(Op::In, 2 * K, 0);
    nested::go_on(&mut program, CALL.len);
    vm.run(&program)?;
    let file = ProfileFile::read()?;
    let details = Details::of(&file, &vm, 0)?;
    let got = details.of_levels("io", io(1, IN));
    ensure!(got == [2, 1].map(|n| n * u64::from(K)), "{got:?} of IN");
    let calls = details.of_levels("hypercall", NO_HYPERCALL);
    ensure!(calls == [0, 2], "{calls:?} calls");
    let number = IO.number().to_string();
    let in_guest = code(&file, &vm, 0)?
        .into_iter()
        .filter(|((reason, level, ..), _)| *reason == number && *level == 2);
    let places: Vec<u64> = in_guest.map(|(_, (exits, ..))| exits).collect();
    ensure!(places == [u64::from(K)], "{places:?} in the guest's code");
    let total = oracle.check(&[&vm])?;
    Ok(format!(
        "{got:?} of levels 1 and 2, total {total} by all three"
    ))
}

/// Kicks find the vCPU in either guest, or between them.
pub fn kicked(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 499;
    let mut oracle = without_shortcuts(host)?;
    let mut guest = Program::new();
    let mut hypervisor = Program::new();
    for _ in 0..TIMES {
        guest.repeat(Op::Wbinvd, 1, 0);
        guest.repeat(CALL.op, 1, CALL.arg);
        nested::go_on(&mut hypervisor, CALL.len);
    }
    let mut vm = nested::launch(&guest, &[])?;
    let mut want = nested::cost(TIMES);
    want.extend([(WBINVD.number(), TIMES), (HYPERCALL.number(), TIMES)]);
    let (_, kicks) = threads::kicking(|| check_growth(&mut vm, &hypervisor, &want))?;
    let total = oracle.check(&[&vm])?;
    Ok(format!(
        "{TIMES} times two, {kicks} kicks, total {total} by all three"
    ))
}
