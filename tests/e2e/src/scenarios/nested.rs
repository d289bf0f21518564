// SPDX-License-Identifier: GPL-2.0
//! A guest hypervisor with a guest of its own: each exit of either is one of
//! the host's, whoever handles it.

use super::test;
use crate::harness::runner::{Skip, Test};
use crate::harness::watchdog;
use crate::host::module::{self, Host, State};
use crate::oracle::leaf::{self, Books, exits, hidden};
use crate::vmm::cpu::{self, CPUID, HYPERCALL, INTERRUPT, IO, Reason, WBINVD, reasons};
use crate::vmm::guest::layout::{self, CONTROL_BLOCK};
use crate::vmm::guest::{Program, Regs};
use crate::vmm::nested::{self, CALL, Exit, HOST_AREA, SPARE_BLOCK, exit, svm, vmx};
use crate::vmm::ops::Op;
use crate::vmm::vm::Vm;
use anyhow::{Context, Result, ensure};
use profile::{isa::Isa, reason::Status};
use std::collections::BTreeMap;

/// How often a thing is done: a prime, so that no factor hides.
const K: u32 = 23;

pub fn tests() -> Vec<Test> {
    let profiled =
        |name: &str, run: fn(&mut Host) -> Result<String>| test(name, State::Profiled, run);
    vec![
        profiled("nested.instructions", instructions),
        profiled("nested.shortcuts", shortcuts),
        profiled("nested.reflected", reflected),
        profiled("nested.handled_by_host", handled_by_host),
        profiled("nested.hidden_reason", hidden_reason),
        profiled("nested.failed_entries", failed_entries),
        profiled("nested.kicked", kicked),
    ]
}

/// What there is for the CPU's instruction set.
fn pick<T>(vmx: T, svm: T) -> T {
    match cpu::isa() {
        Isa::Vmx => vmx,
        Isa::Svm => svm,
    }
}

/// Stands for all that leaf FE does not show.
const HIDDEN: u32 = u32::MAX;

/// Runs `body` and demands that every reason's count grew by what `want` says,
/// or not at all, but for the host's interrupts. Returns what `body` read.
fn count(vm: &mut Vm, body: &Program, want: &[(u32, u32)]) -> Result<Vec<Regs>> {
    let shown = reasons(Status::Handled);
    let mut sweep = Program::new();
    sweep.cpuid(leaf::HIDDEN, 0);
    for &reason in &shown {
        sweep.cpuid(leaf::EXITS, reason);
    }
    let asked = sweep.reads();
    let mut program = sweep.clone();
    program.append(body);
    program.append(&sweep);
    let mut answers = vm.run(&program)?;
    let after = answers.split_off(asked + body.reads());
    let results = answers.split_off(asked);

    // The CPUIDs from a reason's first answer up to its second.
    let mut wanted = BTreeMap::from([(CPUID.number(), asked as u64)]);
    for &(reason, count) in want {
        *wanted.entry(reason).or_default() += u64::from(count);
    }
    let rows = std::iter::once(HIDDEN).chain(shown);
    for ((reason, before), after) in rows.zip(answers).zip(after) {
        let (what, before, after) = match reason {
            HIDDEN => ("leaf 02".into(), hidden(before).0, hidden(after).0),
            _ => (format!("reason {reason:#x}"), exits(before)?, exits(after)?),
        };
        let got = after - before;
        let want = wanted.get(&reason).copied().unwrap_or(0);
        ensure!(
            got == want || reason == INTERRUPT.number(),
            "{what}: want {want} got {got}"
        );
    }
    Ok(results)
}

/// KVM that shadows no VMCS, and has no virtual global interrupt flag, so that
/// all of the hypervisor's instructions exit.
fn without_shortcuts(host: &mut Host) -> Result<Books> {
    host.forget();
    host.unload_vendor()?;
    host.load_vendor(true, pick("enable_shadow_vmcs=0", "vgif=0 vls=0"))?;
    Books::open(&[])
}

/// Operations of a hypervisor that leave things as they were: argument, reason.
type Group = &'static [(Op, u32, u32)];

const OF_VMX: &[Group] = &[
    &[(Op::Vmread, vmx::field::EXIT_REASON, 23)],
    &[(Op::Vmwrite, vmx::field::GUEST_RIP, 25)],
    &[(Op::Vmptrst, 0, 22)],
    &[
        (Op::Vmptrld, SPARE_BLOCK, 21),
        (Op::Vmptrld, CONTROL_BLOCK, 21),
    ],
    &[(Op::Vmclear, SPARE_BLOCK, 19)],
    &[(Op::Invept, 0, 50)],
    &[(Op::Invvpid, 0, 53)],
    &[(Op::Vmxoff, 0, 26), (Op::Vmxon, HOST_AREA, 27)],
];

const OF_SVM: &[Group] = &[
    &[(Op::Vmload, SPARE_BLOCK, 0x82)],
    &[(Op::Vmsave, SPARE_BLOCK, 0x83)],
    &[(Op::Clgi, 0, 0x85), (Op::Stgi, 0, 0x84)],
    &[(Op::Invlpga, 0, 0x7a)],
];

/// Does a group K times; each operation is so many exits.
fn count_group(vm: &mut Vm, group: Group, each: u32) -> Result<()> {
    let mut program = Program::new();
    for _ in 0..K {
        for &(op, arg, _) in group {
            program.repeat(op, 1, arg);
        }
    }
    let want: Vec<_> = group
        .iter()
        .map(|&(.., reason)| (reason, each * K))
        .collect();
    count(vm, &program, &want).with_context(|| format!("{group:x?}"))?;
    Ok(())
}

fn instructions(host: &mut Host) -> Result<String> {
    let mut books = without_shortcuts(host)?;
    let mut vm = nested::launch(&Program::new(), &[])?;
    let groups = pick(OF_VMX, OF_SVM);
    for group in groups {
        count_group(&mut vm, group, 1)?;
    }
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "{} times {K}, total {total} in all three books",
        groups.len()
    ))
}

/// What the CPU does for the hypervisor is no exit: reading and writing a field
/// of the VMCS that KVM shadows, or changing the global interrupt flag. What
/// comes close to it still is one.
fn shortcuts(_: &mut Host) -> Result<String> {
    let (module, param) = pick(("kvm_intel", "enable_shadow_vmcs"), ("kvm_amd", "vgif"));
    if !["Y", "1"].contains(&module::param(module, param)?.as_str()) {
        return Err(Skip::because(format!("the CPU has no use for {param}")));
    }
    let free: Group = pick(
        &[
            (Op::Vmread, vmx::field::GUEST_RIP, 23),
            (Op::Vmwrite, vmx::field::GUEST_RIP, 25),
        ],
        &[(Op::Clgi, 0, 0x85), (Op::Stgi, 0, 0x84)],
    );
    let dear: Group = pick(
        &[
            (Op::Vmread, vmx::field::GUEST_DR7, 23),
            (Op::Vmwrite, vmx::field::GUEST_DR7, 25),
        ],
        &[(Op::Invlpga, 0, 0x7a)],
    );
    let mut books = Books::open(&[])?;
    let mut vm = nested::launch(&Program::new(), &[])?;
    count_group(&mut vm, free, 0)?;
    count_group(&mut vm, dear, 1)?;
    let total = books.balance(&[&vm])?;
    Ok(format!("{param}, total {total} in all three books"))
}

/// What goes to the hypervisor, always or because it asks for it.
const REFLECTED: &[Exit] = &[
    CALL,
    exit(Op::Cpuid, 0, CPUID, 2),
    exit(Op::Hlt, 0, HLT, 1),
    exit(Op::Invd, 0, Reason(13, 0x76), 2),
    exit(Op::Rdmsr, 0x1b, Reason(31, 0x7c), 2),
    exit(Op::WrmsrZero, 0x79, Reason(32, 0x7c), 2),
];

/// What KVM never asks for itself, and so has no handler for.
const WITHOUT_HANDLER_VMX: &[Exit] = &[
    exit(Op::Rdtsc, 0, RDTSC, 2),
    exit(Op::Rdtscp, 0, Reason(51, 0x87), 3),
];
/// KVM has a handler for RDTSCP here.
const WITHOUT_HANDLER_SVM: &[Exit] = &[exit(Op::Rdtsc, 0, RDTSC, 2)];

const RDTSC: Reason = Reason(16, 0x6e);

const HLT: Reason = Reason(12, 0x78);

fn reflected(host: &mut Host) -> Result<String> {
    let mut books = without_shortcuts(host)?;
    let vm = reflect(REFLECTED, |exit| exit.reason.number())?;
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "{} times {K}, total {total} in all three books",
        REFLECTED.len()
    ))
}

/// Also, leaves FE and FF must show nothing of it.
fn hidden_reason(host: &mut Host) -> Result<String> {
    let mut books = without_shortcuts(host)?;
    let exits = pick(WITHOUT_HANDLER_VMX, WITHOUT_HANDLER_SVM);
    let mut vm = reflect(exits, |_| HIDDEN)?;
    for exit in exits {
        for leaf in [leaf::EXITS, leaf::CYCLES] {
            let shown = leaf::query(&mut vm, leaf, exit.reason.number())?;
            ensure!(shown == [0; 4], "leaf {leaf:#x} answers {shown:x?}");
        }
    }
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "{} times {K} in leaf 02, total {total} in all three books",
        exits.len()
    ))
}

/// Each exit of the guest's guest is one, in the row that `row` tells, and so is
/// each instruction that the hypervisor needs to let it go on.
fn reflect(exits: &[Exit], row: fn(&Exit) -> u32) -> Result<Vm> {
    let mut guest = Program::new();
    for exit in exits {
        guest.repeat(exit.op, K, exit.arg);
    }
    let mut vm = nested::launch(&guest, exits)?;
    let mut len = CALL.len;
    for exit in exits {
        let mut program = Program::new();
        for _ in 0..K {
            nested::go_on(&mut program, len);
            len = exit.len;
        }
        let mut want = nested::cost(K);
        want.push((row(exit), K));
        let results = count(&mut vm, &program, &want).with_context(|| format!("{:?}", exit.op))?;
        let told = |r: &[Regs]| r[1][0] == exit.reason.number();
        ensure!(
            results.chunks_exact(2).all(told),
            "{:?}: the hypervisor saw {results:x?}",
            exit.op
        );
    }
    Ok(vm)
}

/// What the host handles, and the hypervisor does not hear of.
const HANDLED: &[(Op, u32, Reason)] = &[
    (Op::Out, 0, IO),
    (Op::In, 0, IO),
    (Op::Hlt, 0, HLT),
    (Op::Wbinvd, 0, WBINVD),
    (Op::Cr0Am, 0, Reason(28, 0x65)),
    (Op::Monitor, 0, Reason(39, 0x8a)),
    (Op::Touch, layout::UNTOUCHED, Reason(48, 0x400)),
];

/// Each exit of the guest's guest is one, and the hypervisor does not run until
/// its guest calls it.
fn handled_by_host(host: &mut Host) -> Result<String> {
    let mut books = without_shortcuts(host)?;
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
        let results = count(&mut vm, &program, &want).with_context(|| format!("{op:?}"))?;
        ensure!(
            results[1][0] == call,
            "{op:?}: the hypervisor saw {results:x?}"
        );
    }
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "{} times {K}, total {total} in all three books",
        HANDLED.len()
    ))
}

/// An entry that fails.
struct Failure {
    what: &'static str,
    /// The exits that it takes if the host's CPU finds it, and not KVM before,
    /// and for how many of them the tracepoint fires.
    exits: (u32, u32),
    /// Puts the mistake there: operation, ECX, argument.
    spoil: (Op, u32, u32),
    /// What the entry leaves in EAX.
    failed: u32,
    /// Where the hypervisor looks for the cause, and what it finds.
    cause: (Op, u32, u32),
}

const VMX_ERROR: (Op, u32, u32) = (Op::Vmread, vmx::field::ERROR, 7);
const VMX_INVALID: (Op, u32, u32) = (Op::Vmread, vmx::field::EXIT_REASON, 0x8000_0021);
const SVM_INVALID: (Op, u32, u32) = (Op::Load, svm::at::EXIT_CODE, u32::MAX);

const FAILURES_VMX: &[Failure] = &[
    Failure {
        what: "controls, by KVM",
        exits: (0, 0),
        spoil: (Op::Vmwrite, 0, vmx::field::PROCESSOR_CONTROLS),
        failed: 1,
        cause: VMX_ERROR,
    },
    Failure {
        what: "state, by KVM",
        exits: (0, 0),
        spoil: (Op::Vmwrite, 1, vmx::field::LINK_POINTER),
        failed: 0,
        cause: VMX_INVALID,
    },
    // That is no exit of the architecture's: KVM calls it reason 0xdead, and
    // the tracepoint does not fire.
    Failure {
        what: "controls, by the CPU",
        exits: (1, 0),
        spoil: (Op::Vmwrite, 0x10, vmx::field::TPR_THRESHOLD),
        failed: 1,
        cause: VMX_ERROR,
    },
    Failure {
        what: "state, by the CPU",
        exits: (1, 1),
        spoil: (Op::Vmwrite, 3, vmx::field::INTERRUPTIBILITY),
        failed: 0,
        cause: VMX_INVALID,
    },
];

const FAILURES_SVM: &[Failure] = &[
    Failure {
        what: "ASID, by KVM",
        exits: (0, 0),
        spoil: (Op::Store, 0, svm::at::ASID),
        failed: 0,
        cause: SVM_INVALID,
    },
    // An NMI's vector as an exception.
    Failure {
        what: "event, by the CPU",
        exits: (1, 1),
        spoil: (Op::Store, 0x8000_0302, svm::at::EVENT),
        failed: 0,
        cause: SVM_INVALID,
    },
];

/// An entry that KVM refuses is no exit but that of the instruction. One that
/// it lets pass, and the CPU refuses, is one more, of a reason without handler.
fn failed_entries(host: &mut Host) -> Result<String> {
    let mut books = without_shortcuts(host)?;
    let failures = pick(FAILURES_VMX, FAILURES_SVM);
    let enter = pick(Op::LaunchGuest, Op::RunGuest);
    let cost = pick(&[(20, K), (23, K), (25, K)][..], &[(svm::VMRUN, K)]);
    let mut vms = Vec::new();
    let mut untraced = 0;
    for failure in failures {
        let mut vm = nested::set_up(&Program::new(), &[])?;
        let (spoil, value, place) = failure.spoil;
        let (look, at, cause) = failure.cause;
        let mut program = Program::new();
        for _ in 0..K {
            program.call(spoil, value, place);
            program.call(enter, 0, 0);
            program.call(look, 0, at);
        }
        let mut want = cost.to_vec();
        let (exits, traced) = failure.exits;
        want.push((HIDDEN, exits * K));
        untraced += u64::from((exits - traced) * K);
        let results = count(&mut vm, &program, &want).context(failure.what)?;
        for told in results.chunks_exact(3) {
            let (got, want) = ((told[1][0], told[2][0]), (failure.failed, cause));
            ensure!(got == want, "{}: {got:x?}, want {want:x?}", failure.what);
        }
        vms.push(vm);
    }
    let total = books.balance_but(&vms.iter().collect::<Vec<_>>(), untraced)?;
    Ok(format!(
        "{} times {K}, total {total} as KVM's; kvm_exit: {untraced} fewer",
        failures.len()
    ))
}

/// Whoever wants the vCPU back finds it in either guest, or between them.
fn kicked(host: &mut Host) -> Result<String> {
    const TIMES: u32 = 499;
    let mut books = without_shortcuts(host)?;
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
    let (_, kicks) = watchdog::kicking(|| count(&mut vm, &hypervisor, &want))?;
    let total = books.balance(&[&vm])?;
    Ok(format!(
        "{TIMES} times two, {kicks} kicks, total {total} in all three books"
    ))
}
