// SPDX-License-Identifier: GPL-2.0
//! Details: known exits are counted under what is known of them, they add up, and a guest
//! that makes up keys fouls its own table only.

use crate::harness::{Test, threads, watchdog};
use crate::host::debugfs::ProfileFile;
use crate::host::module::{self, PROFILER};
use crate::host::{Host, State, Tracepoint, cpus};
use crate::oracle::details::{Detail, Details, code};
use crate::oracle::{K, Oracle, catalog};
use crate::vmm::cpu::{CPUID, HYPERCALL, INTERRUPT, IO, pick};
use crate::vmm::{Op, Program, Vm, layout, ops, port};
use anyhow::{Context, Result, ensure};
use profile::heavy::WAYS;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

pub fn tests() -> Vec<Test<Host>> {
    let profiled = |name: &str, run: fn(&mut Host) -> Result<String>| {
        Test::new(format!("details.{name}"), State::Profiled, run)
    };
    // SVM does not say which interrupt it was.
    let interrupts = pick(Some(profiled("interrupts", interrupts)), None);
    let mut tests = vec![
        profiled("known", known),
        profiled("add_up", add_up),
        profiled("hostile", hostile),
        profiled("chosen", chosen),
        profiled("code", of_code),
        profiled("ended", ended),
        profiled("off", off),
        profiled("switched_under_load", |host| {
            cpus::changing_code(|| under_load(host))
        }),
    ];
    tests.extend(interrupts);
    tests
}

/// A workload of the catalog, the kind of its detail, and its key. On SVM, a reason may tell
/// all, and have no details.
const KNOWN: &[(&str, &str, u64, Option<u64>)] = &[
    both("cpuid", "cpuid", 0),
    both("hypercall", "hypercall", NO_HYPERCALL),
    ("exception", "exception", 6, None),
    both("out", "io", io(1, 0)),
    both("in", "io", io(1, IN)),
    both("outl", "io", io(4, 0)),
    both("inl", "io", io(4, IN)),
    both("outsw", "io", io(2, STRING)),
    both("rep_insb", "io", io(1, IN | STRING | REP)),
    both("rdmsr_apic_base", "rdmsr", 0x1b),
    both("wrmsr_ucode", "wrmsr", 0x79),
    both("wrmsr_refused", "wrmsr", 0x1a0),
    // Of the fast path.
    both("x2apic_icr", "wrmsr", 0x830),
    both("tsc_deadline", "wrmsr", 0x6e0),
    ("cr0_am", "cr", 0x00, None),
    ("lmsw", "cr", 0x30, None),
    ("cr4_mce", "cr", 0x04, None),
    ("cr8_read", "cr", 0x18, None),
    ("cr8_write", "cr", 0x08, None),
    ("dr_read", "dr", 0x10, None),
    ("dr_write", "dr", 0x00, None),
    ("unbacked_again", "mmio", layout::UNBACKED as u64, None),
    (
        "unbacked",
        "page_fault",
        0,
        Some(layout::UNBACKED as u64 | 1),
    ),
];

const fn both(
    name: &'static str,
    kind: &'static str,
    key: u64,
) -> (&'static str, &'static str, u64, Option<u64>) {
    (name, kind, key, Some(key))
}

/// The key of an access of `size` bytes to the sink.
pub const fn io(size: u64, access: u64) -> u64 {
    port::SINK as u64 | size << 16 | access
}

/// The number of a hypercall that does not exist.
pub const NO_HYPERCALL: u64 = 0xffff_ffff;

pub const IN: u64 = 1 << 19;
const STRING: u64 = 1 << 20;
const REP: u64 = 1 << 21;

/// The details of the first vCPU, while it does not run.
fn details(vm: &Vm) -> Result<Details> {
    Details::of(&ProfileFile::read()?, vm, 0)
}

/// Each workload's exits have its key, and no other key of the kind grows but that of the
/// OUT that ends the program.
fn known(host: &mut Host) -> Result<String> {
    host.reload("log=N details=all")?;
    let (mut count, mut books) = (0, 0);
    for &(name, kind, vmx, svm) in KNOWN {
        let workload = catalog::find(name);
        let Some(key) = pick(Some(vmx), svm).filter(|_| workload.runs()) else {
            continue;
        };
        let mut vm = workload.prepare()?;
        let before = details(&vm)?.keys(kind);
        let traced = books_of(kind, key)?;
        vm.run(&workload.program())?;
        let now = details(&vm)?;
        let told = match kind {
            // The first access of a device finds no mapping.
            "mmio" => now.exits(kind, key) + now.exits("page_fault", key | 1),
            _ => now.exits(kind, key) - before.get(&key).unwrap_or(&0),
        };
        for (what, book) in &traced {
            let traced = book.read()?;
            ensure!(told == traced, "{name}: {told}, by {what} {traced}");
        }
        books += traced.len();
        let mut grown = details(&vm)?.keys(kind);
        for (key, exits) in before {
            // Pages may be too many, so one may have lost its entry.
            let now = grown.entry(key).or_default();
            *now = now.saturating_sub(exits);
        }
        grown.retain(|_, exits| *exits > 0);
        if kind == "io" {
            let done = grown.remove(&(u64::from(port::DONE) | 1 << 16));
            ensure!(done == Some(1), "{name}: the end is not told: {grown:x?}");
        }
        let (least, most) = workload.exits();
        // An interrupt may come at each of them. The tracepoint has counted exactly.
        let most = most * if workload.interruptible { 2 } else { 1 };
        let got = grown.remove(&key).unwrap_or(0);
        ensure!(
            (u64::from(least)..=u64::from(most)).contains(&got) && grown.is_empty(),
            "{name}: {got} of {key:#x}, want {least} to {most}; besides {grown:x?}"
        );
        count += 1;
    }
    ensure!(count >= pick(20, 11), "only {count} workloads");
    ensure!(books >= pick(24, 12), "only {books} counts of tracepoints");
    Ok(format!(
        "{count} workloads, {books} counts of KVM's tracepoints"
    ))
}

/// Counts of the tracepoints that have the same, from now on, with their filters.
fn books_of(kind: &str, key: u64) -> Result<Vec<(String, Tracepoint)>> {
    let is = |access| u64::from(key & access != 0);
    // VMX's own words: reason and qualification, or interruption information.
    let exit = |reason: u32, field: &str| ("kvm_exit", format!("exit_reason=={reason}&&{field}"));
    let (page, end) = (key & !0xfff, key | 0xfff);
    let (vmx, both) = match kind {
        "io" => {
            let (port, size, write) = (key & 0xffff, key >> 16 & 7, 1 - is(IN));
            let qualification =
                (size - 1) | is(IN) << 3 | is(STRING) << 4 | is(REP) << 5 | port << 16;
            let filter = format!("port=={port}&&size=={size}&&rw=={write}");
            // String instructions have one event for several items.
            let both = (is(STRING) == 0).then_some(("kvm_pio", filter));
            // The port is an immediate operand, or in DX.
            let immediate = qualification | 1 << 6;
            let filter = format!("(info1=={qualification}||info1=={immediate})");
            (Some(exit(30, &filter)), both)
        }
        "rdmsr" => (None, Some(("kvm_msr", format!("ecx=={key}&&write==0")))),
        "wrmsr" => (None, Some(("kvm_msr", format!("ecx=={key}&&write==1")))),
        "cpuid" => (None, Some(("kvm_cpuid", format!("function=={key}")))),
        "hypercall" => (None, Some(("kvm_hypercall", format!("nr=={key}")))),
        "exception" => {
            // Valid, and a hardware exception.
            let information = 1 << 31 | 3 << 8 | key;
            let filter = format!("intr_info=={information}");
            (Some(exit(0, &filter)), None)
        }
        "cr" => {
            let (cr, write) = (key & 15, u8::from(key >> 4 != 1));
            (Some(("kvm_cr", format!("cr=={cr}&&rw=={write}"))), None)
        }
        // From or to EAX or EDX.
        "dr" => {
            let edx = key | 2 << 8;
            let filter = format!("(info1=={key}||info1=={edx})");
            (Some(exit(29, &filter)), None)
        }
        "mmio" => {
            let filter = format!("type==0&&gpa>={page}&&gpa<={end}");
            (Some(("kvm_mmio", filter)), None)
        }
        "page_fault" => {
            let filter = format!("fault_address>={page}&&fault_address<={end}");
            (None, Some(("kvm_page_fault", filter)))
        }
        _ => (None, None),
    };
    let books = pick(vmx, None).into_iter().chain(both);
    let count = |(event, filter): (&str, String)| {
        let book = Tracepoint::with(event, &filter)?;
        Ok((format!("{event} {filter}"), book))
    };
    books.map(count).collect()
}

/// Interrupts of the host have their vectors, as `kvm_exit` has them.
fn interrupts(host: &mut Host) -> Result<String> {
    const LOCAL_TIMER: u64 = 0xec;
    host.reload("log=N details=interrupt")?;
    let all = Tracepoint::of(INTERRUPT.number())?;
    let valid = 1 << 31 | LOCAL_TIMER;
    let filter = format!("exit_reason=={}&&intr_info=={valid}", INTERRUPT.number());
    let timer = Tracepoint::with("kvm_exit", &filter)?;
    let mut vm = Vm::plain()?;
    vm.run(&Program::repeated(Op::Spin, 10 * K, 200))?;
    let told = details(&vm)?;
    let (sum, of_timer) = (
        told.keys("interrupt").values().sum::<u64>(),
        told.exits("interrupt", LOCAL_TIMER),
    );
    let traced = (all.read()?, timer.read()?);
    ensure!(
        (sum, of_timer) == traced && of_timer > 0,
        "{sum}, {of_timer} of the timer; traced {traced:?}"
    );
    Ok(format!("{sum}, {of_timer} of the timer"))
}

/// Of every reason that has details, they add up to its exits and cycles, whatever guests
/// do; pages may be too many.
fn add_up(host: &mut Host) -> Result<String> {
    host.reload("log=N details=all")?;
    let mut oracle = Oracle::since_load()?;
    let vms = catalog::run_all()?;
    let file = ProfileFile::read()?;
    let (mut reasons, mut exits) = (0, 0);
    for vm in &vms {
        let details = Details::of(&file, vm, 0)?;
        for line in file.of_vcpu("vcpu", vm, 0) {
            let reason = line.text("reason")?;
            let of_reason =
                |((other, kind, ..), _): &(&Detail, _)| other == reason && kind != "page_fault";
            if details.0.iter().any(|detail| of_reason(&detail)) {
                let (sum, all) = (details.of_reason(reason), line.counted()?);
                ensure!(sum == all, "{line:?}: details have {sum:?}");
                reasons += 1;
                exits += sum.0;
            }
        }
    }
    let total = oracle.check(&vms.iter().collect::<Vec<_>>())?;
    Ok(format!("{reasons} sums of {exits} exits, of {total}"))
}

/// A guest makes up keys, besides one that matters. That keeps its entry. All entries are
/// within their errors, and errors within their bound. Another guest's details are exact.
fn hostile(host: &mut Host) -> Result<String> {
    const FLOOD: u32 = 3000;
    const EVERY: u32 = 4;
    // Those that come back find their entries taken.
    const KEYS: u32 = 701;
    host.reload("log=N details=cpuid")?;
    let [mut flood, mut other] = [Vm::plain()?, Vm::plain()?];
    let mut program = Program::new();
    let mut truth: BTreeMap<u64, u64> = BTreeMap::new();
    for n in 0..FLOOD {
        let leaf = if n % EVERY == 0 {
            7
        } else {
            0x1000_0000 + n % KEYS
        };
        program.repeat(Op::Cpuid, 1, leaf);
        *truth.entry(leaf.into()).or_default() += 1;
    }
    flood.run(&program)?;
    other.run(&Program::repeated(Op::Cpuid, K, 1))?;
    let file = ProfileFile::read()?;
    let seen = Details::of(&file, &flood, 0)?;
    let mut worst = 0;
    for ((.., key), (exits, _, error)) in &seen.0 {
        let true_exits = *truth.get(key).context("a key that nobody made up")?;
        ensure!(
            *exits <= true_exits && true_exits <= exits + error,
            "{key:#x}: {exits}, error {error}, in truth {true_exits}"
        );
        let most = u64::from(FLOOD) / WAYS as u64;
        ensure!(*error <= most, "{key:#x}: error {error}, at most {most}");
        worst = worst.max(*error);
    }
    let heavy = seen.exits("cpuid", 7);
    ensure!(heavy > 0, "leaf 7 is lost: {:x?}", seen.0);
    let entries = seen.0.len();
    ensure!(entries == 8 * WAYS, "{entries} entries");
    let exact = Details::of(&file, &other, 0)?;
    ensure!(
        exact.keys("cpuid") == BTreeMap::from([(1, K.into())]),
        "{:x?}",
        exact.0
    );
    Ok(format!(
        "{entries} entries for {} keys, errors up to {worst}, {heavy} of {} of the heavy one",
        truth.len(),
        truth[&7]
    ))
}

/// Only what was asked for is recorded, and the parameter says what that is.
fn chosen(host: &mut Host) -> Result<String> {
    host.reload("log=N details=io,msr")?;
    let read = || module::param(PROFILER, "details");
    ensure!(read()? == "io,rdmsr,wrmsr", "details={}", read()?);
    let mut vm = Vm::plain()?;
    let work = |vm: &mut Vm| {
        let mut program = Program::repeated(Op::Cpuid, K, 1);
        program.repeat(Op::Rdmsr, K, 0x1b);
        vm.run(&program).map(drop)
    };
    work(&mut vm)?;
    let first = details(&vm)?;
    ensure!(first.exits("rdmsr", 0x1b) == u64::from(K), "{:x?}", first.0);
    ensure!(first.keys("cpuid").is_empty(), "{:x?}", first.0);
    for bad in ["io,nonsense", "IO", "42"] {
        let refused = module::set_param(PROFILER, "details", bad);
        ensure!(
            refused.is_err() && read()? == "io,rdmsr,wrmsr",
            "took {bad}"
        );
    }
    module::set_param(PROFILER, "details", "cpuid")?;
    work(&mut vm)?;
    let second = details(&vm)?;
    ensure!(
        second.exits("rdmsr", 0x1b) == u64::from(K),
        "{:x?}",
        second.0
    );
    ensure!(second.exits("cpuid", 1) == u64::from(K), "{:x?}", second.0);
    // On SVM, both directions have the same reason.
    module::set_param(PROFILER, "details", "rdmsr")?;
    let mut program = Program::repeated(Op::WrmsrZero, K, 0x79);
    program.repeat(Op::Rdmsr, K, 0x1b);
    vm.run(&program)?;
    let third = details(&vm)?;
    ensure!(
        third.exits("rdmsr", 0x1b) == 2 * u64::from(K) && third.keys("wrmsr").is_empty(),
        "{:x?}",
        third.0
    );
    ensure!(
        host.reload("per_vcpu=N details=io").is_err(),
        "loaded with per_vcpu=N"
    );
    host.reload("per_vcpu=N")?;
    let refused = module::set_param(PROFILER, "details", "io");
    ensure!(refused.is_err(), "switched on with per_vcpu=N");
    Ok(format!("{K} of each"))
}

/// The place of an exit in the guest is that of the instruction.
fn of_code(host: &mut Host) -> Result<String> {
    let mut notes = Vec::new();
    for mode in ["exact", "page"] {
        host.reload(&format!("log=N code={mode}"))?;
        let mut vm = Vm::plain()?;
        let mut program = Program::repeated(Op::Vmcall, K, 0);
        program.repeat(Op::Cpuid, K, 1);
        vm.run(&program)?;
        let seen = code(&ProfileFile::read()?, &vm, 0)?;
        for (op, reason) in [(Op::Vmcall, HYPERCALL), (Op::Cpuid, CPUID)] {
            let start = u64::from(ops::address(op));
            let own: Vec<_> = seen
                .iter()
                .filter(|((other, ..), _)| *other == reason.number().to_string())
                .collect();
            let [((_, 1, rip, cpl), (exits, cycles, error))] = own[..] else {
                anyhow::bail!("{op:?}: {seen:x?}");
            };
            ensure!(
                (*exits, *error, *cpl) == (K.into(), 0, 0),
                "{op:?}: {seen:x?}"
            );
            ensure!(*cycles > 0, "{op:?}: {seen:x?}");
            let place = match mode {
                "exact" => (start..start + 16).contains(rip),
                _ => *rip == start & !0xfff,
            };
            ensure!(place, "{op:?} at {rip:#x}, its code at {start:#x}");
        }
        notes.push(format!("{} places ({mode})", seen.len()));
    }
    Ok(notes.join(", "))
}

/// What vCPUs that have ended had is kept, and a reset forgets it.
fn ended(host: &mut Host) -> Result<String> {
    host.reload("log=N details=all code=exact")?;
    for _ in 0..3 {
        Vm::plain()?.run(&Program::repeated(Op::Cpuid, K, 0x1234_5678))?;
    }
    let file = ProfileFile::read()?;
    let has_key =
        |line: &&crate::host::debugfs::Line| line.text("key").ok() == Some("0000000012345678");
    let line = file
        .of("ended_detail")
        .find(has_key)
        .context("it is lost")?;
    ensure!(line.counted()?.0 == u64::from(3 * K), "{line:?}");
    let sum = |kind: &str| -> Result<u64> {
        let lines = file
            .of(kind)
            .filter(|line| line.text("reason").ok() == Some(&*IO.number().to_string()));
        lines.map(|line| Ok(line.counted()?.0)).sum()
    };
    let (all, of_details, of_code) = (sum("ended")?, sum("ended_detail")?, sum("ended_code")?);
    ensure!(
        all == of_details && all == of_code && all > 0,
        "{all} exits, {of_details} of details, {of_code} of code"
    );
    module::set_param(PROFILER, "reset", "1")?;
    let file = ProfileFile::read()?;
    ensure!(file.of("ended_detail").count() == 0, "{file:?}");
    ensure!(file.of("ended_code").count() == 0, "{file:?}");
    Ok(format!("{} CPUIDs, {all} OUTs", 3 * K))
}

/// There are none by default.
fn off(host: &mut Host) -> Result<String> {
    host.reload("log=N")?;
    let mut vm = Vm::plain()?;
    vm.run(&Program::repeated(Op::Cpuid, K, 1))?;
    let file = ProfileFile::read()?;
    ensure!(file.of("vcpu_detail").count() == 0, "{file:?}");
    ensure!(file.of("vcpu_code").count() == 0, "{file:?}");
    let head = file.head();
    ensure!(
        head.text("details")? == "none" && head.text("code")? == "off",
        "{head:?}"
    );
    Ok(String::new())
}

/// While guests exit as fast as they can, details are switched: no exit is lost, and no
/// detail has more exits than its reason.
fn under_load(host: &mut Host) -> Result<String> {
    const TIMES: usize = 60;
    host.reload("log=N")?;
    let mut oracle = Oracle::since_load()?;
    let mut busy = [Vm::plain()?, Vm::plain()?];
    let program = Program::repeated(Op::Cpuid, 500, 1);
    let works = busy.each_mut().map(|vm| {
        let program = &program;
        move || vm.run(program).map(drop)
    });
    threads::beside(works, || {
        for time in 0..TIMES {
            watchdog::check()?;
            let (details, code) = match time % 3 {
                0 => ("all", "off"),
                1 => ("io", "exact"),
                _ => ("none", "page"),
            };
            module::set_param(PROFILER, "details", details)?;
            module::set_param(PROFILER, "code", code)?;
            thread::sleep(Duration::from_millis(time as u64 % 7));
            ProfileFile::read()?;
        }
        module::set_param(PROFILER, "details", "all")?;
        thread::sleep(Duration::from_millis(20));
        Ok(())
    })?;
    let total = oracle.check(&busy.each_ref())?;
    let file = ProfileFile::read()?;
    let mut told = 0;
    for vm in &busy {
        told += Details::of(&file, vm, 0)?.exits("cpuid", 1);
    }
    ensure!(told > 0, "no exit has a detail");
    Ok(format!("{told} CPUIDs told of {total} exits"))
}
