// SPDX-License-Identifier: GPL-2.0
//! Hostile guests: any query, from all vCPUs at once, in each mode of the CPU,
//! natively and through KVM's emulator, at full speed.
//!
//! A guest that nobody disturbs says before what the answers are: KVM's own,
//! before the profiler is loaded, and then the profiler's.

use super::log::{bounds, query_line, suppressed};
use super::test;
use crate::harness::effort::Effort;
use crate::harness::random::{Query, Random, is_ours};
use crate::harness::runner::Test;
use crate::harness::watchdog;
use crate::host::cpus;
use crate::host::kmsg::Kmsg;
use crate::host::module::{self, Host, PROFILER, State};
use crate::host::text::Text;
use crate::oracle::book::{Book, Held, Model, Rising, Row, Want, live};
use crate::oracle::leaf::{self, DISCOVERY, IDENTITY, PROTOCOL, TOTAL_EXITS, exits};
use crate::vmm::fuzz::{BATCH, Mode, Quad, Reader};
use crate::vmm::guest::{Program, Regs};
use crate::vmm::ops::Op;
use crate::vmm::vm::{Config, Vm};
use anyhow::{Context, Result, anyhow, ensure};
use std::iter::repeat_with;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where more is wanted these come again, each time with another seed: so the
/// host's log is looked at now and then, and a failure is soon repeated.
pub fn tests(effort: Effort) -> Vec<Test> {
    let seeds = (0..u64::from(effort.factor)).map(|n| effort.seed.wrapping_add(n));
    seeds.flat_map(tests_from).collect()
}

fn tests_from(seed: u64) -> [Test; 4] {
    let fuzz = |name: &str, run: fn(&mut Host, u64) -> Result<String>| {
        let run = move |host: &mut Host| {
            let text = run(host, seed).with_context(|| format!("seed {seed:#x}"))?;
            Ok(format!("seed {seed:#x}: {text}"))
        };
        Test {
            seconds: 300,
            ..test(name, State::Absent, run)
        }
    };
    [
        fuzz("fuzz.frozen", frozen),
        fuzz("fuzz.counting", counting),
        fuzz("fuzz.switched", |host, effort| {
            cpus::changing_code(|| switched(host, effort))
        }),
        fuzz("fuzz.faulting", faulting),
    ]
}

/// CPUIDs of all vCPUs together.
const READS: usize = 100_000;
/// Queries to which KVM's own answer is known.
const KNOWN: usize = 512;

/// A vCPU that asks.
struct Fuzzer<'a> {
    reader: Reader<'a>,
    random: Random,
    /// KVM's own answers, which may depend on the vCPU.
    known: Vec<(Query, Regs)>,
    /// Asks the profiler what is not among these, too.
    fresh: bool,
    done: Done,
}

/// What was asked.
#[derive(Clone, Copy, Default)]
struct Done {
    reads: usize,
    emulated: usize,
    /// Queries of which the host's log shall tell.
    for_log: usize,
    /// Answers to the discovery leaf, by whether they were KVM's own.
    discoveries: [usize; 2],
}

impl std::ops::AddAssign for Done {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.emulated += other.emulated;
        self.for_log += other.for_log;
        self.discoveries[0] += other.discoveries[0];
        self.discoveries[1] += other.discoveries[1];
    }
}

/// One vCPU for each CPU of the host, and two at least.
fn crowd() -> Result<Vm> {
    let cpus = thread::available_parallelism()?.get().clamp(2, 8);
    Vm::new(&Config {
        more_vcpus: cpus as u8 - 1,
        ..Config::default()
    })
}

/// Says what is wrong with the profiler's answer.
trait Judge: FnMut(Query, Regs) -> Result<()> {}
impl<F: FnMut(Query, Regs) -> Result<()>> Judge for F {}

/// Makes fuzzers of the vCPUs; without a profiler. If `fresh`, only what is
/// outside the profiler's block is asked now.
fn fuzzers(vm: &mut Vm, seed: u64, fresh: bool) -> Result<Vec<Fuzzer<'_>>> {
    let mut random = Random::new(seed);
    let mut fuzzers = Vec::new();
    for vcpu in &mut vm.vcpus {
        let mut program = Program::new();
        let mut asked = Vec::new();
        while asked.len() < KNOWN {
            let query = random.query();
            if !(fresh && is_ours(query)) {
                asked.push(query);
                program.cpuid(query.0, query.1);
            }
        }
        let answers = vcpu.run(&program)?;
        fuzzers.push(Fuzzer {
            reader: Reader::new(vcpu)?,
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
    fn query(&mut self) -> (Query, Option<Regs>) {
        if self.fresh {
            let query = self.random.query();
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

    /// Asks a batch of queries. Each answer is KVM's own, or one that `judge`
    /// lets pass.
    fn ask(&mut self, mode: Mode, emulated: bool, judge: &mut impl Judge) -> Result<()> {
        let asked = [(); BATCH].map(|()| self.query());
        let before = asked.map(|(query, _)| self.registers(query));
        let mut after = before;
        self.reader.run(mode, emulated, &mut after)?;
        for ((&(query, own), before), after) in asked.iter().zip(before).zip(after) {
            let got = after.map(|r| r as u32);
            let judged = match own == Some(got) {
                true => Ok(()),
                false => judge(query, got),
            };
            high_halves(mode, before, after)
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

    /// The registers for a query: garbage, where they are no input.
    fn registers(&mut self, (eax, ecx): Query) -> Quad {
        let [ebx, edx] = [(); 2].map(|()| self.random.next() as u32);
        [eax, ebx, ecx, edx].map(|low| self.random.next() << 32 | u64::from(low))
    }
}

/// CPUID zeroes the high halves of its registers in 64-bit mode; in others the
/// guest cannot see them, so the table has them as they were.
fn high_halves(mode: Mode, before: Quad, after: Quad) -> Result<()> {
    let high = |quad: Quad| quad.map(|r| r >> 32);
    let want = if mode.is_long() { [0; 4] } else { high(before) };
    ensure!(high(after) == want, "high halves, want {want:x?}");
    Ok(())
}

fn is_logged((eax, _): Query) -> bool {
    (0x4fff_fffc..=0x4fff_ffff).contains(&eax)
}

/// While it lives, KVM emulates what follows its prefix.
struct Emulation;

impl Emulation {
    fn enable() -> Result<Self> {
        module::set_param("kvm", "force_emulation_prefix", "1")?;
        Ok(Self)
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        // A test that has failed already starts the next from nothing.
        let _ = module::set_param("kvm", "force_emulation_prefix", "0");
    }
}

/// Runs all fuzzers at once, each with its judge, for as long as `more` says
/// of what it has done; and `meanwhile` beside them.
fn run<J: Judge + Send>(
    fuzzers: &mut [Fuzzer<'_>],
    judges: impl IntoIterator<Item = J>,
    more: impl Fn(&Done) -> bool + Sync,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<Done> {
    let _emulation = Emulation::enable()?;
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

/// So many reads of each fuzzer.
fn each(fuzzers: &[Fuzzer<'_>]) -> impl Fn(&Done) -> bool + use<> {
    let reads = READS / fuzzers.len();
    move |done| done.reads < reads
}

/// Different numbers for different reasons, and then a guest's reading of it.
fn record_some() -> Result<(Vm, Book)> {
    let mut calm = Vm::plain()?;
    let mut program = Program::new();
    for (op, count) in [(Op::Vmcall, 23), (Op::Wbinvd, 29), (Op::Out, 31)] {
        program.repeat(op, count, 0);
    }
    calm.run(&program)?;
    let book = Book::read(&mut calm)?;
    Ok((calm, book))
}

/// With recording off every answer is known beforehand to the bit, and is the
/// model's; the host's log stays within its bounds.
fn frozen(host: &mut Host, seed: u64) -> Result<String> {
    let mut vm = crowd()?;
    let mut fuzzers = fuzzers(&mut vm, seed, true)?;
    host.reload("log=N")?;
    let (mut calm, _) = record_some()?;
    module::set_param(PROFILER, "recording", "N")?;
    let book = Book::read(&mut calm)?;
    let model = Model::new(&book);
    let judges = repeat_with(|| {
        let (book, model, mut held) = (&book, &model, Held::default());
        move |query, got| {
            if let Some(want) = book.answer(query, held)? {
                let model = model.answer(query, held);
                ensure!(
                    model == Some(want),
                    "want {want:x?}, the model has {model:x?}"
                );
            }
            book.is_frozen(query, got, &mut held)
        }
    });

    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let start = Instant::now();
    let more = each(&fuzzers);
    let done = run(&mut fuzzers, judges, more, || Ok(()))?;
    let took = start.elapsed();
    // Until suppressed lines have been told of.
    thread::sleep(Duration::from_secs(3));
    let lines = log.drain()?;
    let all = Text::read()?.account()?.number("suppressed")? as usize;
    let after = Book::read(&mut calm)?;
    module::set_param(PROFILER, "recording", "Y")?;
    ensure!(book == after, "a counter moved");

    let logged = lines.iter().filter_map(|l| query_line(l)).count();
    let dropped: Vec<usize> = lines.iter().filter_map(|l| suppressed(l)).collect();
    let text = format!(
        "{}, {logged} logged, {all} suppressed, {dropped:?} told of",
        tell(&fuzzers, &done, took)
    );
    // Each vCPU may have found no share of its guest's at first.
    let bounds = bounds(took);
    let bounds = *bounds.start()..bounds.end() + fuzzers.len();
    ensure!(bounds.contains(&logged), "{text}, want {bounds:?}");
    ensure!(dropped.len() == 1, "{text}, in {} lines", dropped.len());
    ensure!(logged + all == done.for_log, "{text}, of {}", done.for_log);
    Ok(text)
}

fn tell(fuzzers: &[Fuzzer<'_>], done: &Done, took: Duration) -> String {
    let Done {
        reads, emulated, ..
    } = done;
    let (vcpus, rate) = (fuzzers.len(), *reads as f64 / took.as_secs_f64());
    format!("{reads} reads by {vcpus} vCPUs, {emulated} of them emulated, {rate:.0}/s")
}

/// While exits are counted no number falls, the total rises by a reader's own
/// exits at least, whether it holds a snapshot or not; that stays as it was; and
/// nothing is more than what is read in peace afterwards.
fn counting(host: &mut Host, seed: u64) -> Result<String> {
    let mut vm = crowd()?;
    let mut fuzzers = fuzzers(&mut vm, seed ^ 1, true)?;
    host.reload("log=N")?;
    let (mut calm, before) = record_some()?;
    let rising = || Rising::new(before.clone());
    let mut all: Vec<_> = fuzzers.iter().map(|_| rising()).collect();
    let judges = all.iter_mut().map(|rising| {
        // Of a reader's own, this is the next at least.
        let mut least = before.rows[&Row::Total].exits;
        move |query: Query, got| {
            least += 1;
            if query.0 == TOTAL_EXITS {
                let total = exits(got)?;
                ensure!(total >= least, "want {least} at least");
                least = total;
            }
            rising.follow(query, got)
        }
    });
    let start = Instant::now();
    let more = each(&fuzzers);
    let done = run(&mut fuzzers, judges, more, || Ok(()))?;
    let took = start.elapsed();
    let after = Book::read(&mut calm)?;
    all.iter().try_for_each(|r| r.book.is_before(&after))?;
    Ok(tell(&fuzzers, &done, took))
}

/// The profiler comes and goes, and its recording: answers are its own or
/// KVM's, and nothing else.
fn switched(host: &mut Host, seed: u64) -> Result<String> {
    const TIMES: usize = 5;
    let mut vm = crowd()?;
    let mut fuzzers = fuzzers(&mut vm, seed ^ 2, false)?;
    host.reload("log=N")?;
    let (calm, book) = record_some()?;
    host.reach(State::Absent)?;

    // SAFETY: every CPU that has KVM has the instruction.
    let tsc = || unsafe { core::arch::x86_64::_rdtsc() };
    let (start, started) = (Instant::now(), tsc());
    let mut most = vec![(0, 0); fuzzers.len()];
    let judges = most.iter_mut().map(|most| {
        let book = &book;
        move |query: Query, got: Regs| {
            if live(query.0).is_some() && got == leaf::UNDEFINED {
                return Ok(());
            }
            let count = match book.want(query)? {
                // Each load has an epoch of its own.
                Want::Is(want) if query.0 == PROTOCOL => {
                    let but_epoch = |[eax, ebx, _, edx]: Regs| [eax, ebx, edx];
                    ensure!(but_epoch(got) == but_epoch(want), "want {want:x?}");
                    return Ok(());
                }
                // And an identity.
                Want::Is(_) if live(query.0).unwrap_or(query.0) == IDENTITY => {
                    return leaf::identity(got).map(drop);
                }
                Want::Is(want) => {
                    ensure!(got == want, "want {want:x?}");
                    return Ok(());
                }
                Want::Counts(figure, _) => figure.read(got)?,
                Want::Snapshot(_) => return leaf::is_snapshot(got).map(drop),
            };
            most.0 = most.0.max(count.exits).max(count.untimed);
            most.1 = most.1.max(count.cycles);
            Ok(())
        }
    });
    let stop = AtomicBool::new(false);
    let switch = || {
        let pause = || thread::sleep(Duration::from_millis(20));
        for _ in 0..TIMES {
            host.load_profiler("log=N")?;
            pause();
            for value in ["N", "Y"] {
                module::set_param(PROFILER, "recording", value)?;
                pause();
            }
            host.unload_profiler()?;
            pause();
        }
        anyhow::Ok(())
    };
    let meanwhile = || {
        let switched = switch();
        stop.store(true, Ordering::Relaxed);
        switched
    };
    let more = |_: &Done| !stop.load(Ordering::Relaxed);
    let done = run(&mut fuzzers, judges, more, meanwhile)?;
    let text = tell(&fuzzers, &done, start.elapsed());
    let [ours, own] = done.discoveries;
    ensure!(ours > 0 && own > 0, "{text}: present {ours}, absent {own}");
    drop(fuzzers);
    let bound = (
        vm.exits()? + calm.exits()?,
        (tsc() - started) * vm.vcpus.len() as u64,
    );
    for most in most {
        let text = format!("{most:?} counted, {bound:?} happened");
        ensure!(most.0 > 0 && most.0 < bound.0 && most.1 < bound.1, "{text}");
    }
    Ok(format!(
        "{text}, {TIMES} times; discovered {ours}, not {own}"
    ))
}

/// Where CPUID faults, the fault wins: no answer in ring 3, and no line in
/// the log.
fn faulting(host: &mut Host, seed: u64) -> Result<String> {
    let mut vm = Vm::plain()?;
    let mut fuzzers = fuzzers(&mut vm, seed ^ 3, true)?;
    let fuzzer = &mut fuzzers[0];
    host.reload("log=N")?;
    let (mut calm, _) = record_some()?;
    module::set_param(PROFILER, "recording", "N")?;
    let book = Book::read(&mut calm)?;
    let mut held = Held::default();
    let mut judge = |query, got| book.is_frozen(query, got, &mut held);
    let _emulation = Emulation::enable()?;
    module::set_param(PROFILER, "log", "Y")?;
    let mut log = Kmsg::from_now()?;
    let [ring0, ring3] = [0, 3].map(|ring| Mode::Protected { ring });
    for emulated in [false, true] {
        fuzzer.reader.set_faulting(true)?;
        let mut batch = [(); BATCH].map(|()| {
            let (query, _) = fuzzer.query();
            let [rax, _, rcx, rdx] = fuzzer.registers(query);
            [rax, Reader::after(ring3, emulated).into(), rcx, rdx]
        });
        let before = batch;
        fuzzer.reader.run(ring3, emulated, &mut batch)?;
        let answered = before.iter().zip(batch).find(|(b, a)| *b != a);
        ensure!(answered.is_none(), "CPUID in ring 3: {answered:x?}");
        fuzzer.ask(ring0, emulated, &mut judge)?;
        fuzzer.reader.set_faulting(false)?;
        fuzzer.ask(ring3, emulated, &mut judge)?;
    }
    module::set_param(PROFILER, "recording", "Y")?;
    let tells = |line: &str| suppressed(line).or(query_line(line).map(|_| 1));
    thread::sleep(Duration::from_secs(3));
    let logged: usize = log.drain()?.iter().filter_map(|line| tells(line)).sum();
    let Done { reads, for_log, .. } = fuzzer.done;
    ensure!(logged == for_log, "{logged} lines for {for_log} queries");
    Ok(format!("{} faults, {reads} answers", 2 * BATCH))
}
