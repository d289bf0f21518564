// SPDX-License-Identifier: GPL-2.0

//! Which families of metrics there are, and their samples.

use super::write::{Family, Labels, Samples};
use crate::{
    series::{Label, Part, Values},
    snapshot::{Origin, Owner, Snapshot},
};
use jiff::Timestamp;
use profile::{
    counts::Tally,
    histogram::{BUCKETS, Histogram, bounds},
    isa::Isa,
    phases::{Phase, Spent},
};
use prometheus_client::registry::Unit;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Result,
    time::Duration,
};

macro_rules! families {
    ($($constant:ident: $name:literal $unit:expr, $help:literal)*) => {
        $(const $constant: Family = Family {
            name: concat!("exitprof_", $name),
            unit: $unit,
            help: $help,
        };)*
    };
}

const SECONDS: Option<Unit> = Some(Unit::Seconds);

families! {
    UP: "up" None, "Whether the counters could be read"
    BUILD: "build" None, "The version of exitprof"
    READ: "read_duration" SECONDS, "How long it took to read the counters"
    COUNTERS: "counters" None, "Which counters these are: their source, instruction set and identity"
    STARTED: "start_time" SECONDS, "When the counters started from zero, since the epoch of Unix"
    EPOCH: "epoch" None, "Changes when the counters start from zero"
    RECORDING: "recording" None, "Whether exits are being recorded"
    RECORDING_PHASES: "recording_phases" None, "Whether phases are being recorded"
    TSC: "tsc_frequency_hertz" None, "Frequency of the host's TSC, which times are measured with"
    CPUS: "cpus" None, "Online CPUs of the host"
    VMS: "vms" None, "VMs that exist"
    VCPUS: "vcpus" None, "vCPUs that exist and have counters of their own"
    MEMORY: "module_memory" Some(Unit::Bytes), "Memory that the module's counters take"
    SAMPLE: "sample_overhead" SECONDS, "Part of each timed exit's time that is due to measuring it"
    RECORD: "record_overhead" SECONDS, "Time that recording adds to each exit"
    SUPPRESSED: "suppressed_log_lines" None, "Lines that were left out of the host's log"
    EXITS: "exits" None, "VM exits of all guests"
    UNTIMED: "untimed_exits" None, "VM exits of all guests that were counted but not timed"
    HANDLING: "handling" SECONDS, "Time spent in KVM's handlers of VM exits, of all guests; by BPF, from exit to entry"
    DURATION: "handling_duration" SECONDS, "Durations of KVM's handler for each timed VM exit; by BPF, from exit to entry"
    VM_VCPUS: "vm_vcpus" None, "vCPUs of the VM, and the PID of its process"
    VM_EXITS: "vm_exits" None, "VM exits of the VM"
    VM_UNTIMED: "vm_untimed_exits" None, "VM exits of the VM that were counted but not timed"
    VM_HANDLING: "vm_handling" SECONDS, "Time spent in KVM's handlers of the VM's exits; by BPF, from exit to entry"
    VM_PHASES: "vm_phase" SECONDS, "Time of the VM's vCPUs in the guest and in each phase"
    ENDED_EXITS: "ended_exits" None, "Last values of exitprof_vm_exits_total of VMs that have ended"
    ENDED_UNTIMED: "ended_untimed_exits" None, "Last values of exitprof_vm_untimed_exits_total of VMs that have ended"
    ENDED_HANDLING: "ended_handling" SECONDS, "Last values of exitprof_vm_handling_seconds_total of VMs that have ended"
    ENDED_PHASES: "ended_phase" SECONDS, "Last values of exitprof_vm_phase_seconds_total of VMs that have ended"
    PHASES: "phase" SECONDS, "Time of all vCPUs in the guest and in each phase, by the reason that led there"
    TRIPS: "userspace_exits" None, "Exits to userspace, by KVM_EXIT_* and the reason that led there"
    TRIPS_TIME: "userspace" SECONDS, "Time in userspace after exits to it, by KVM_EXIT_* and the reason that led there"
}

/// The label of exit reasons.
const REASON: &str = "reason";
/// The name of what has no series of its own.
const OTHER: &str = "other";

/// What an exporter says of itself.
pub fn exporter(out: &mut Samples<'_>, build: &Labels<'_>, is_up: bool, took: Duration) -> Result {
    out.gauge(&UP, &[], f64::from(u8::from(is_up)))?;
    out.info(&BUILD, build)?;
    out.gauge(&READ, &[], took.as_secs_f64())
}

/// What a reading says.
pub fn all(out: &mut Samples<'_>, snapshot: &Snapshot, values: &Values) -> Result {
    let hertz = f64::from(snapshot.tsc_khz) * 1e3;
    let clock = Clock((hertz > 0.0).then_some(hertz));
    account(out, snapshot, values, clock)?;
    host(out, snapshot, values.started, clock)?;
    let vms = vms(snapshot, values);
    owners(out, values, &vms, clock)?;
    if values.other.is_some() {
        let families = [&ENDED_EXITS, &ENDED_UNTIMED, &ENDED_HANDLING, &ENDED_PHASES];
        let ended = [(Vec::new(), &values.ended, values.started)];
        parts(out, families, &ended, values.guest.is_some(), clock)?;
    }
    phases(out, values, clock)
}

/// Converts cycles to seconds, if the frequency of the TSC is known.
#[derive(Clone, Copy)]
struct Clock(Option<f64>);

impl Clock {
    fn seconds(self, cycles: u64) -> Option<f64> {
        self.0.map(|hertz| cycles as f64 / hertz)
    }
}

/// Labels, values, and when these were zero.
type Owned<'a> = (Vec<(&'static str, &'a str)>, &'a Part, Option<Timestamp>);

/// What the module and the tool say besides counters.
fn account(out: &mut Samples<'_>, snapshot: &Snapshot, values: &Values, clock: Clock) -> Result {
    let source = match snapshot.origin {
        Origin::Host => "host",
        Origin::Bpf => "bpf",
        Origin::GuestOfHost => "guest_of_host",
        Origin::GuestOfVm => "guest_of_vm",
        Origin::GuestOfVcpu => "guest_of_vcpu",
    };
    let isa = match snapshot.isa {
        Isa::Vmx => "vmx",
        Isa::Svm => "svm",
    };
    let identity = snapshot
        .identity
        .map(|id| id.to_string())
        .unwrap_or_default();
    out.info(
        &COUNTERS,
        &[("source", source), ("isa", isa), ("identity", &identity)],
    )?;
    out.gauge(&EPOCH, &[], f64::from(snapshot.epoch))?;
    let started = values.started.map(|at| at.as_millisecond() as f64 / 1e3);
    let switch = |on: Option<bool>| on.map(|on| f64::from(u8::from(on)));
    let account = snapshot.account;
    let has_vms = snapshot.origin.is_host();
    let attached = &snapshot.attached;
    let vms: BTreeSet<_> = attached.iter().map(|vcpu| &vcpu.vm).collect();
    for (family, value) in [
        (&STARTED, started),
        (&RECORDING, switch(snapshot.recording)),
        (&RECORDING_PHASES, switch(snapshot.phases)),
        (&TSC, clock.0),
        (&CPUS, snapshot.cpus.map(f64::from)),
        (&VMS, has_vms.then_some(vms.len() as f64)),
        (&VCPUS, has_vms.then_some(attached.len() as f64)),
        (&MEMORY, account.map(|account| account.memory_bytes as f64)),
        (
            &SAMPLE,
            account.and_then(|account| clock.seconds(account.sample_cycles)),
        ),
        (
            &RECORD,
            account.and_then(|account| clock.seconds(account.record_cycles)),
        ),
    ] {
        if let Some(value) = value {
            out.gauge(family, &[], value)?;
        }
    }
    match account {
        Some(account) => out.count(&SUPPRESSED, &[], account.suppressed, None),
        None => Ok(()),
    }
}

/// The exits of all guests, by reason.
fn host(
    out: &mut Samples<'_>,
    snapshot: &Snapshot,
    started: Option<Timestamp>,
    clock: Clock,
) -> Result {
    let mut reasons: BTreeMap<&str, (Tally, Option<Histogram>)> = BTreeMap::new();
    let counters = snapshot.counters.iter();
    for counter in counters.filter(|c| matches!(c.owner, Owner::All | Owner::Hidden)) {
        let (tally, histogram) = reasons.entry(&counter.name).or_default();
        *tally = *tally + counter.tally();
        if let Some(more) = &counter.histogram {
            histogram.get_or_insert_default().add(more);
        }
    }
    for (name, (tally, _)) in &reasons {
        out.count(&EXITS, &[(REASON, *name)], tally.exits, started)?;
    }
    for (name, (tally, _)) in &reasons {
        out.count(&UNTIMED, &[(REASON, *name)], tally.untimed, started)?;
    }
    for (name, (tally, _)) in &reasons {
        if let Some(seconds) = clock.seconds(tally.cycles) {
            out.time(&HANDLING, &[(REASON, *name)], seconds, started)?;
        }
    }
    for (name, (tally, histogram)) in &reasons {
        if let (Some(histogram), Some(hertz)) = (histogram, clock.0) {
            let sum = tally.cycles as f64 / hertz;
            let buckets = buckets(histogram, hertz);
            out.histogram(&DURATION, &[(REASON, *name)], sum, &buckets, started)?;
        }
    }
    Ok(())
}

/// The exits up to each number of seconds. The bounds are the highest numbers of cycles of the
/// module's buckets, so they are exact.
fn buckets(histogram: &Histogram, hertz: f64) -> [(f64, u64); BUCKETS] {
    let mut buckets = [(f64::INFINITY, 0); BUCKETS];
    for (nth, (bound, exits)) in buckets.iter_mut().enumerate() {
        let (_, last) = bounds(nth);
        if last < u64::MAX {
            *bound = last as f64 / hertz;
        }
        *exits = histogram.buckets[nth];
    }
    buckets
}

/// VMs: their name, PID, and label of a vCPU.
struct Vm {
    name: String,
    pid: String,
    vcpu: String,
}

/// What is to be said of each VM or vCPU with series of its own.
fn vms(snapshot: &Snapshot, values: &Values) -> Vec<Vm> {
    let vm = |Label { vm, vcpu }: &Label| Vm {
        name: snapshot.vm_names.get(&**vm).cloned().unwrap_or_default(),
        pid: vm.split('-').next().unwrap_or_default().into(),
        vcpu: vcpu.map(|vcpu| vcpu.to_string()).unwrap_or_default(),
    };
    values.groups.iter().map(|group| vm(&group.label)).collect()
}

/// The series of VMs or vCPUs.
fn owners(out: &mut Samples<'_>, values: &Values, vms: &[Vm], clock: Clock) -> Result {
    let mut all: Vec<Owned<'_>> = Vec::new();
    for (group, vm) in values.groups.iter().zip(vms) {
        let labels = vec![
            ("vm", &*group.label.vm),
            ("vm_name", vm.name.as_str()),
            ("vcpu", vm.vcpu.as_str()),
        ];
        all.push((labels, &group.part, group.created));
    }
    for ((labels, ..), (group, vm)) in all.iter().zip(values.groups.iter().zip(vms)) {
        let mut labels = labels.clone();
        labels.push(("pid", &vm.pid));
        out.gauge(&VM_VCPUS, &labels, group.vcpus as f64)?;
    }
    if let Some(other) = &values.other {
        all.push((vec![("vm", OTHER)], other, values.started));
    }
    let families = [&VM_EXITS, &VM_UNTIMED, &VM_HANDLING, &VM_PHASES];
    parts(out, families, &all, values.guest.is_some(), clock)
}

/// Exits, untimed exits, time and phases.
fn parts(
    out: &mut Samples<'_>,
    [exits, untimed, handling, phase]: [&Family; 4],
    all: &[Owned<'_>],
    has_phases: bool,
    clock: Clock,
) -> Result {
    type Write<'f> = &'f mut dyn FnMut(&Labels<'_>, Tally, Option<Timestamp>) -> Result;
    let each = |write: Write<'_>| -> Result {
        for (labels, part, created) in all {
            for (reason, tally) in &part.tallies {
                let labels: Vec<_> = labels
                    .iter()
                    .copied()
                    .chain([(REASON, &**reason)])
                    .collect();
                write(&labels, *tally, *created)?;
            }
        }
        Ok(())
    };
    each(&mut |labels, tally, created| out.count(exits, labels, tally.exits, created))?;
    each(&mut |labels, tally, created| out.count(untimed, labels, tally.untimed, created))?;
    each(
        &mut |labels, tally, created| match clock.seconds(tally.cycles) {
            Some(seconds) => out.time(handling, labels, seconds, created),
            None => Ok(()),
        },
    )?;
    for (labels, part, created) in all.iter().filter(|_| has_phases) {
        let guest = ("guest", part.phases.guest);
        for (name, cycles) in [guest].into_iter().chain(by_phase(part.phases.spent)) {
            let labels: Vec<_> = labels.iter().copied().chain([("phase", name)]).collect();
            if let Some(seconds) = clock.seconds(cycles) {
                out.time(phase, &labels, seconds, *created)?;
            }
        }
    }
    Ok(())
}

fn by_phase(spent: Spent) -> impl Iterator<Item = (&'static str, u64)> {
    Phase::ALL
        .into_iter()
        .map(move |phase| (phase.key(), spent.of(phase)))
}

/// Where the time of all vCPUs went.
fn phases(out: &mut Samples<'_>, values: &Values, clock: Clock) -> Result {
    let started = values.started;
    if let Some(seconds) = values.guest.and_then(|guest| clock.seconds(guest)) {
        out.time(&PHASES, &[("phase", "guest")], seconds, started)?;
    }
    for (reason, spent) in &values.phases {
        for (phase, cycles) in by_phase(*spent) {
            if let Some(seconds) = clock.seconds(cycles) {
                let labels = [("phase", phase), (REASON, &**reason)];
                out.time(&PHASES, &labels, seconds, started)?;
            }
        }
    }
    for ([reason, exit], (trips, _)) in &values.trips {
        let labels = [(REASON, &**reason), ("exit", exit)];
        out.count(&TRIPS, &labels, *trips, started)?;
    }
    for ([reason, exit], (_, cycles)) in &values.trips {
        if let Some(seconds) = clock.seconds(*cycles) {
            let labels = [(REASON, &**reason), ("exit", exit)];
            out.time(&TRIPS_TIME, &labels, seconds, started)?;
        }
    }
    Ok(())
}
