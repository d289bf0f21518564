// SPDX-License-Identifier: GPL-2.0

//! Counts the exits of this host with a BPF program on KVM's tracepoints: for a kernel without the
//! module. It counts as long as this source exists.

mod books;
mod details;
mod fields;
mod memory;
mod refusal;
mod threads;
mod tracepoint;

use super::machine;
use crate::snapshot::{Origin, Snapshot, VERSION};
use anyhow::{Context, Result};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{ProgramError, ProgramFd, RawTracePoint, TracePoint},
    util,
};
use books::{Books, Page};
use memory::{Buckets, Mapped, SLOTS};
use profile::isa::Isa;
use std::{
    arch::x86_64::__cpuid,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// `exits.bpf.c`, as build.rs compiles it.
static PROGRAM: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/exits.bpf.o"));
/// The fields of kvm_exit that it reads.
const FIELDS: [&str; 5] = ["exit_reason", "vcpu_id", "info1", "info2", "intr_info"];
/// The number of ranges of reasons that it can tell apart.
const RANGES: usize = 8;
/// How many threads that run vCPUs have counters of their own at one time: for each possible CPU,
/// and at least. It is more than hosts run, for the table must have free places.
const PLACES_OF_CPU: usize = 64;
const PLACES: usize = 256;
/// Times are in nanoseconds, as if they were cycles of a TSC of 1 GHz.
const KHZ: u32 = 1_000_000;

/// How often the places of vCPUs that have ended are freed.
const COLLECT: Duration = Duration::from_millis(500);

/// What counts, and where.
#[derive(Debug)]
pub struct Bpf {
    /// When they are dropped, the programs are detached: first that for exits.
    _exits: OwnedFd,
    _programs: Ebpf,
    histograms: Mapped<Buckets>,
    isa: Isa,
    vcpus: Arc<Vcpus>,
    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    since: u64,
}

/// The places of vCPUs, and what those counted that have ended.
#[derive(Debug)]
struct Vcpus {
    places: Mapped<memory::Vcpu>,
    books: Mutex<Books>,
}

impl Bpf {
    /// Begins to count.
    ///
    /// # Errors
    ///
    /// If this process may not, or the kernel cannot: says what to do.
    pub fn attach() -> Result<Bpf> {
        let isa = isa();
        let format = refusal::format("kvm_exit")?;
        let types = fields::types("kvm_exit", &format, &FIELDS)?;
        let cpus = util::nr_cpus().map_err(|(file, e)| anyhow::Error::new(e).context(file))?;
        let places = (cpus * PLACES_OF_CPU).max(PLACES).next_power_of_two() as u32;
        let histograms = (cpus * SLOTS) as u32;
        let reason_bits = match isa {
            // The basic exit reason.
            Isa::Vmx => 0xffff,
            Isa::Svm => u32::MAX,
        };
        let mut programs = EbpfLoader::new()
            .btf(Some(&types))
            .set_max_entries("vcpus", places + 1)
            .set_max_entries("histograms", histograms)
            .set_global("last_vcpu", &(places - 1), true)
            .set_global("reason_bits", &reason_bits, true)
            .set_global("other_slot", &(isa.other_slot() as u32), true)
            .set_global("details_of", &details::of_slots(isa), true)
            .set_global("ranges", &ranges(isa), true)
            .load(PROGRAM)
            .map_err(refusal::explained)?;
        let map = |name| programs.map(name).context("the program lacks a map");
        let vcpus = Arc::new(Vcpus {
            places: Mapped::new(map("vcpus")?, places + 1)?,
            books: Mutex::new(Books::new(isa)),
        });
        let histograms = Mapped::new(map("histograms")?, histograms)?;
        attach_others(&mut programs).map_err(refusal::explained)?;
        // Last the one without which the others do nothing.
        let exit = exit_program(&mut programs).map_err(refusal::explained)?;
        let exits = tracepoint::attach(exit.as_fd(), tracepoint::number(&format)?);
        let exits = exits.map_err(refusal::explained)?;
        Vcpus::collect_often(&vcpus)?;
        Ok(Bpf {
            _exits: exits,
            _programs: programs,
            vcpus,
            histograms,
            isa,
            since: machine::monotonic_ns(),
        })
    }

    /// Reads what was counted so far. VMs are called as in `debugfs`.
    pub fn read(&self, debugfs: &Path, procfs: &Path) -> Snapshot {
        let vms = machine::vms(debugfs, procfs);
        self.vcpus.collect();
        let mut books = self.vcpus.books();
        let Page {
            attached,
            counters,
            details,
            missed,
        } = books.read(self.vcpus.places.values(), self.histograms.values(), &vms);
        let mut snapshot = Snapshot {
            version: VERSION,
            origin: Origin::Bpf,
            isa: self.isa,
            identity: books.identity(),
            epoch: 1,
            tsc_khz: KHZ,
            time_ns: machine::monotonic_ns(),
            clock: None,
            machine: None,
            boot: None,
            since_ns: Some(self.since),
            period: None,
            // From exit to entry, vCPUs are not on a CPU all the time.
            cpus: None,
            recording: Some(true),
            phases: Some(false),
            account: None,
            missed: Some(missed),
            reading: None,
            attached,
            vm_names: Default::default(),
            counters,
            budgets: Vec::new(),
            detail_kinds: details::kinds(self.isa),
            details,
            code: None,
            places: Vec::new(),
        };
        snapshot.settle_details();
        snapshot
    }
}

impl Vcpus {
    /// Frees the places of vCPUs that have ended.
    fn collect(&self) {
        self.books().collect(self.places.values(), threads::is_gone);
    }

    /// Does so now and then: nobody may read for hours, and meanwhile other vCPUs need the places.
    fn collect_often(vcpus: &Arc<Vcpus>) -> Result<()> {
        let vcpus = Arc::downgrade(vcpus);
        let often = move || {
            while let Some(vcpus) = vcpus.upgrade() {
                vcpus.collect();
                drop(vcpus);
                thread::sleep(COLLECT);
            }
        };
        let thread = thread::Builder::new().name("collect".into());
        thread.spawn(often).context("cannot start a thread")?;
        Ok(())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attaches the programs for entries and ends.
fn attach_others(programs: &mut Ebpf) -> Result<(), ProgramError> {
    for (name, tracepoint) in [
        ("on_thread_end", "sched_process_exit"),
        ("on_entry", "kvm_entry"),
    ] {
        let program: &mut RawTracePoint = named(programs, name)?;
        program.load()?;
        program.attach(tracepoint)?;
    }
    Ok(())
}

/// Loads the program for exits.
fn exit_program(programs: &mut Ebpf) -> Result<&ProgramFd, ProgramError> {
    let exit: &mut TracePoint = named(programs, "on_exit")?;
    exit.load()?;
    exit.fd()
}

fn named<'a, P>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = programs.program_mut(name);
    program.ok_or(ProgramError::NotLoaded)?.try_into()
}

/// The instruction set of this machine, of which KVM uses one.
fn isa() -> Isa {
    const VMX: u32 = 1 << 5;
    match __cpuid(1).ecx & VMX {
        0 => Isa::Svm,
        _ => Isa::Vmx,
    }
}

/// The first number and the length of each range of reasons that have slots of their own, in the
/// order of the slots; then ranges without reasons.
fn ranges(isa: Isa) -> [u32; 2 * RANGES] {
    let mut ranges: Vec<[u32; 2]> = Vec::new();
    for reason in (0..isa.slots()).map_while(|slot| isa.reason(slot)) {
        match ranges.last_mut() {
            Some([first, length]) if first.wrapping_add(*length) == reason => *length += 1,
            _ => ranges.push([reason, 1]),
        }
    }
    let mut all = [0; 2 * RANGES];
    for (number, range) in all.iter_mut().zip(ranges.iter().flatten()) {
        *number = *range;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_the_program_are_those_of_the_model() {
        for isa in [Isa::Vmx, Isa::Svm] {
            let ranges = ranges(isa);
            let mut before = 0;
            let mut slots = Vec::new();
            for range in ranges.chunks(2) {
                let [first, length] = [range[0], range[1]];
                slots.extend((0..length).map(|i| (first.wrapping_add(i), (before + i) as usize)));
                before += length;
            }
            assert_eq!(before as usize, isa.other_slot(), "all ranges have room");
            for (reason, slot) in slots {
                assert_eq!(isa.own_slot(reason.into()), Some(slot));
            }
        }
    }
}
