// SPDX-License-Identifier: GPL-2.0
//! vCPUs that ask random queries at full speed.

use super::query::{is_logged, is_ours, random_query};
use crate::harness::{Random, watchdog};
use crate::host::module::ParamGuard;
use crate::oracle::leaf::DISCOVERY;
use crate::vmm::{BATCH, CpuidLoop, Mode, Quad, Query, Regs, Vm};
use anyhow::{Context, Result, anyhow, ensure};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// How many queries have known answers of KVM's own.
const KNOWN: usize = 512;

/// A vCPU that asks.
pub struct Fuzzer<'a> {
    pub cpuids: CpuidLoop<'a>,
    random: Random,
    /// KVM's own answers, which may depend on the vCPU.
    known: Vec<(Query, Regs)>,
    /// Whether it asks the profiler new queries as well.
    fresh: bool,
    pub done: Done,
}

/// What was asked.
#[derive(Clone, Copy, Default)]
pub struct Done {
    pub reads: usize,
    pub emulated: usize,
    /// Queries that leave a line in the host's log.
    pub for_log: usize,
    /// Answers to the discovery leaf: the profiler's, and KVM's own.
    pub discoveries: [usize; 2],
}

impl AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.emulated += other.emulated;
        self.for_log += other.for_log;
        self.discoveries[0] += other.discoveries[0];
        self.discoveries[1] += other.discoveries[1];
    }
}

/// A VM with a vCPU for each CPU of the host, and two at least.
pub fn crowd() -> Result<Vm> {
    let cpus = thread::available_parallelism()?.get().clamp(2, 8);
    Vm::with_vcpus(cpus as u8)
}

/// Fails if the profiler's answer to a query is wrong.
pub trait Judge: FnMut(Query, Regs) -> Result<()> {}
impl<F: FnMut(Query, Regs) -> Result<()>> Judge for F {}

/// Makes fuzzers of the vCPUs, which first read KVM's own answers without a profiler.
/// If `fresh`, these are only of leaves outside the profiler's block.
pub fn fuzzers(vm: &mut Vm, seed: u64, fresh: bool) -> Result<Vec<Fuzzer<'_>>> {
    let mut random = Random::new(seed);
    let mut fuzzers = Vec::new();
    for vcpu in &mut vm.vcpus {
        let mut asked = Vec::new();
        while asked.len() < KNOWN {
            let query = random_query(&mut random);
            if !(fresh && is_ours(query)) {
                asked.push(query);
            }
        }
        let answers = vcpu.cpuids(&asked)?;
        fuzzers.push(Fuzzer {
            cpuids: CpuidLoop::new(vcpu)?,
            random: Random::new(random.next()),
            known: asked.into_iter().zip(answers).collect(),
            fresh,
            done: Done::default(),
        });
    }
    Ok(fuzzers)
}

impl Fuzzer<'_> {
    /// A query, and KVM's own answer if it is known.
    pub fn query(&mut self) -> (Query, Option<Regs>) {
        if self.fresh {
            let query = random_query(&mut self.random);
            if is_ours(query) {
                return (query, None);
            }
        }
        let (query, answer) = self.random.pick(&self.known);
        (query, Some(answer))
    }

    /// Asks a batch of queries in a random way.
    fn batch(&mut self, judge: &mut impl Judge) -> Result<()> {
        let mode = self.random.pick(&Mode::ALL);
        let emulated = self.random.below(4) == 0;
        self.ask(mode, emulated, judge)
    }

    /// Asks a batch of queries. Each answer must be KVM's own, or pass `judge`.
    pub fn ask(&mut self, mode: Mode, emulated: bool, judge: &mut impl Judge) -> Result<()> {
        let asked = [(); BATCH].map(|()| self.query());
        let before = asked.map(|(query, _)| self.registers(query));
        let mut after = before;
        self.cpuids.run(mode, emulated, &mut after)?;
        for ((&(query, own), before), after) in asked.iter().zip(before).zip(after) {
            let got = after.map(|r| r as u32);
            let judged = match own == Some(got) {
                true => Ok(()),
                false => judge(query, got),
            };
            check_high_halves(mode, before, after)
                .and(judged)
                .with_context(|| {
                    let (eax, ecx) = query;
                    let how = if emulated { "emulated" } else { "native" };
                    format!("CPUID {eax:#x} {ecx:#x}, {mode:?}, {how}, answers {got:x?}, {own:x?} by KVM")
                })?;
            let done = &mut self.done;
            done.reads += 1;
            done.emulated += usize::from(emulated);
            done.for_log += usize::from(is_logged(query));
            if query.0 == DISCOVERY {
                done.discoveries[usize::from(own == Some(got))] += 1;
            }
        }
        Ok(())
    }

    /// The registers for a query, with garbage where they are no input.
    pub fn registers(&mut self, (eax, ecx): Query) -> Quad {
        let [ebx, edx] = [(); 2].map(|()| self.random.next() as u32);
        [eax, ebx, ecx, edx].map(|low| self.random.next() << 32 | u64::from(low))
    }
}

/// CPUID zeroes the high halves of its registers in 64-bit mode. In other modes the
/// guest does not see them, and the table keeps them.
fn check_high_halves(mode: Mode, before: Quad, after: Quad) -> Result<()> {
    let high = |quad: Quad| quad.map(|r| r >> 32);
    let want = if mode.is_long() { [0; 4] } else { high(before) };
    ensure!(high(after) == want, "high halves, want {want:x?}");
    Ok(())
}

/// Makes KVM emulate instructions with its prefix, until this is dropped.
pub fn emulation() -> Result<ParamGuard> {
    ParamGuard::set("kvm", "force_emulation_prefix", "1")
}

/// Runs all fuzzers at once, each with its judge, while `more` says so of what it has
/// done. Does `meanwhile` beside them.
pub fn run<J: Judge + Send>(
    fuzzers: &mut [Fuzzer<'_>],
    judges: impl IntoIterator<Item = J>,
    more: impl Fn(&Done) -> bool + Sync,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Done> {
    let _emulation = emulation()?;
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (fuzzer, mut judge) in fuzzers.iter_mut().zip(judges) {
            let (more, failed) = (&more, &failed);
            threads.push(scope.spawn(move || {
                while more(&fuzzer.done) && !failed.load(Ordering::Relaxed) {
                    let done = watchdog::check().and_then(|()| fuzzer.batch(&mut judge));
                    done.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
                }
                anyhow::Ok(fuzzer.done)
            }));
        }
        let met = meanwhile();
        let mut sum = Done::default();
        for thread in threads {
            let done = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            sum += done?;
        }
        met.map(|()| sum)
    })
}
