// SPDX-License-Identifier: GPL-2.0

//! The lines above and below a table: what its figures mean.

use super::{
    rows,
    units::{LABEL, Unit, counted, duration, grouped, percent, when},
};
use crate::{
    rate::Stability,
    select::{By, Level, Selection},
    snapshot::{Origin, Snapshot, TimeOf},
    view::{Row, Sum, View},
};
use std::{collections::BTreeSet, fmt::Display};

/// A line below a table, with its label. Without a name, it continues the line above.
pub fn label(name: &str, text: impl Display) -> String {
    format!("{name:<LABEL$}{text}")
}

/// The line above a table: what it counts, and the unit of its times.
pub fn head(snapshot: &Snapshot, selection: &Selection, unit: Unit) -> String {
    let of_level = match selection.level {
        None => "",
        Some(Level::L1) => "from L1 ",
        Some(Level::L2) => "from L2 ",
        Some(Level::Reflected) => "from L2, given to L1, ",
    };
    format!("Exits {of_level}of {}", whose(snapshot, selection, unit))
}

/// The line above a budget.
pub fn time_head(snapshot: &Snapshot, selection: &Selection, unit: Unit) -> String {
    format!("Time of the vCPUs of {}", whose(snapshot, selection, unit))
}

fn whose(snapshot: &Snapshot, selection: &Selection, unit: Unit) -> String {
    let vms = match selection.vms.as_slice() {
        [vm] => format!("VM {vm}"),
        vms => format!("VMs {}", vms.join(", ")),
    };
    let whose = match (selection.vms.is_empty(), selection.vcpu) {
        (true, None) => match snapshot.origin {
            Origin::Host | Origin::Bpf => "all guests of this host".into(),
            Origin::GuestOfHost => "all guests of this guest's host".into(),
            Origin::GuestOfVm => "this VM".into(),
            Origin::GuestOfVcpu => "the reading vCPU".into(),
        },
        (false, None) => vms,
        (true, Some(vcpu)) => format!("vCPU {vcpu} of each VM"),
        (false, Some(vcpu)) => format!("{vms}, vCPU {vcpu}"),
    };
    let times = match unit {
        _ if snapshot.origin == Origin::Bpf => "by BPF, exit to entry".into(),
        Unit::Cycles => "times in TSC cycles".into(),
        Unit::Time(khz) => format!("TSC of {:.3} GHz", f64::from(khz) / 1e6),
    };
    let vms: BTreeSet<&str> = snapshot.attached.iter().map(|v| &*v.vm).collect();
    let mut head = format!("{whose}; {times}");
    if snapshot.origin.is_host() && !selection.is_restricted() {
        let vcpus = counted(snapshot.attached.len() as u64, "vCPU", "vCPUs");
        let vms = counted(vms.len() as u64, "VM", "VMs");
        head += &format!("; now {vms}, {vcpus}");
    }
    head
}

/// When and where a snapshot was read, if it says.
fn when_and_where(snapshot: &Snapshot) -> Option<String> {
    let when = when(snapshot.clock?);
    Some(match &snapshot.machine {
        Some(machine) => format!("{when} on {machine}"),
        None => when,
    })
}

/// The same, as a line below a table.
pub fn read(snapshot: &Snapshot) -> Option<String> {
    Some(label("Read", when_and_where(snapshot)?))
}

/// When and where a recording was made, if it says.
pub fn recorded(snapshot: &Snapshot) -> Option<String> {
    let mut words = format!("Recorded {}", when_and_where(snapshot)?);
    let command = snapshot.period.as_ref().and_then(|p| p.command.as_ref());
    if let Some(command) = command {
        words += &format!(", while {command} ran");
    }
    Some(words)
}

const NO_SNAPSHOT: &str = "The host holds no snapshot, so the figures belong to different times.";

/// What users must know about the figures of a reading.
pub fn notes(snapshot: &Snapshot) -> Vec<String> {
    let mut notes: Vec<String> = recording_note(snapshot).into_iter().collect();
    if let Some(reading) = snapshot.reading {
        if !reading.at_once {
            notes.push(NO_SNAPSHOT.into());
        }
        notes.push(format!(
            "Reading caused {}, which are not in this table but in the next.",
            counted(reading.after, "CPUID exit", "CPUID exits"),
        ));
    }
    notes
}

/// What users must know about the figures of a difference.
pub fn difference_notes(snapshot: &Snapshot) -> Vec<String> {
    let reading = snapshot.reading.map(|reading| match reading.at_once {
        true => "The CPUID exits that reading causes are left out, with average cycles for each.",
        false => NO_SNAPSHOT,
    });
    let reading = reading.map(String::from);
    recording_note(snapshot)
        .into_iter()
        .chain(reading)
        .collect()
}

/// What users must know if no exits are being counted.
pub const RECORDING_IS_OFF: &str =
    "Recording is off: no exits are being counted (exitprof recording on).";

/// Whether no exits are being counted, as far as the source says.
pub fn is_off(snapshot: &Snapshot) -> bool {
    snapshot.recording == Some(false)
}

/// What BPF did not see, and what the module would add.
pub fn by_bpf(snapshot: &Snapshot) -> Vec<String> {
    if snapshot.origin != Origin::Bpf {
        return Vec::new();
    }
    let mut notes = Vec::new();
    if let Some(missed) = snapshot.missed.filter(|&missed| missed > 0) {
        let entries = counted(missed, "entry", "entries");
        let words = format!("{entries} without an exit before: it was missed, or the entry failed");
        notes.push(label("Not counted", words));
    }
    let words = "times include userspace and halts; the module kvm_exitprof";
    notes.push(label("By BPF", words));
    let words = "tells handlers' times, phases and more details, at less cost";
    notes.push(label("", words));
    notes
}

fn recording_note(snapshot: &Snapshot) -> Option<String> {
    is_off(snapshot).then(|| RECORDING_IS_OFF.into())
}

/// Says whether the rate is stable.
pub fn stability(stability: &Stability) -> String {
    let Stability {
        intervals,
        mean,
        min,
        max,
        deviation,
        stable,
    } = stability;
    let verdict = if *stable { "stable" } else { "not stable" };
    let mut words = format!("{verdict}: {mean:.1} exits/s");
    if *mean > 0.0 {
        words += &format!(", deviation {}", percent(deviation / mean));
    }
    let range = format!("({min:.1} to {max:.1} in {intervals} intervals)");
    [label("Stability", words), label("", range)].join("\n")
}

/// The most and the least frequent reason, and the one that took most time.
pub fn ranking(view: &View, selection: &Selection, unit: Unit) -> Vec<String> {
    let occurred = || view.rows.iter().filter(|row| row.exits > 0);
    let exits = |row: &Row| counted(row.exits, "exit", "exits");
    let mut words = Vec::new();
    // Selected reasons cannot be ranked among all.
    if selection.by != By::Reason || !selection.reasons.is_empty() {
        return words;
    }
    // All reasons with as many exits.
    let like = |row: &Row| {
        let like = occurred().filter(|other| other.exits == row.exits);
        let names: Vec<&str> = like.map(|row| &*row.name).collect();
        let each = if names.len() > 1 { " each" } else { "" };
        let names = match names.as_slice() {
            [first, second, _, ..] => format!("{first}, {second} and {} more", names.len() - 2),
            _ => names.join(", "),
        };
        format!("{names}: {}{each}", exits(row))
    };
    if let Some(most) = occurred().max_by_key(|row| row.exits) {
        let share = percent(most.exits_percent.unwrap_or(0.0) / 100.0);
        words.push(label("Most frequent", format!("{}, {share}", like(most))));
    }
    if let Some(least) = occurred().min_by_key(|row| row.exits) {
        words.push(label("Least frequent", like(least)));
    }
    let most = occurred()
        .filter(|row| row.avg.is_some())
        .max_by_key(|row| row.cycles);
    if let Some((most, avg)) = most.and_then(|row| Some((row, row.avg?))) {
        let [all, each] = [most.cycles as f64, avg].map(|cycles| unit.say(cycles));
        let share = percent(most.time_percent.unwrap_or(0.0) / 100.0);
        words.push(label(
            "Most time",
            format!("{}: {all} in total, {share}, {each} each", most.name),
        ));
    }
    words
}

/// Says which exits of the rows shown were not timed.
pub fn untimed(view: &View) -> Option<String> {
    let rows = view.shown();
    let named = rows::names(rows.iter()).into_iter().zip(rows);
    let items: Vec<String> = named
        .filter_map(|(name, row)| {
            let whose = row.owner.as_ref().map(|owner| format!("{owner} "));
            let name = whose.unwrap_or_default() + &name;
            let untimed = row.untimed.filter(|&untimed| untimed > 0)?;
            let [untimed, all] = [untimed, row.exits].map(grouped);
            Some(format!("{name}: {untimed} of {all}"))
        })
        .collect();
    listing("Not timed", &items)
}

/// A line that lists items, if there are any.
pub fn listing(name: &str, items: &[String]) -> Option<String> {
    (!items.is_empty()).then(|| label(name, listed(items)))
}

/// Lists items behind a label, and wraps lines to the same column. Only counts items after
/// the first few.
fn listed(items: &[String]) -> String {
    const WIDTH: usize = 80;
    const MOST: usize = 8;
    let indent = LABEL;
    let mut shown: Vec<String> = items.iter().take(MOST).cloned().collect();
    if let Some(more @ 1..) = items.len().checked_sub(MOST) {
        shown.push(format!("and {more} more"));
    }
    let last = shown.len() - 1;
    let mut text = String::new();
    let mut used = indent;
    for (index, item) in shown.iter().enumerate() {
        let mark = if index < last { ";" } else { "" };
        if index > 0 && used + 1 + item.len() + mark.len() > WIDTH {
            text += &format!("\n{:indent$}", "");
            used = indent;
        } else if index > 0 {
            text += " ";
            used += 1;
        }
        text += &format!("{item}{mark}");
        used += item.len() + mark.len();
    }
    text
}

/// The selected exits, and their share of the CPUs' time.
pub fn total(view: &View, snapshot: &Snapshot, unit: Unit) -> String {
    let Sum { exits, cycles, .. } = view.selected;
    let mut words = counted(exits, "exit", "exits");
    let time = unit.show(cycles as f64);
    match (unit, snapshot.origin.time_of()) {
        _ if cycles == 0 => {}
        (_, TimeOf::ExitToEntry) => words += &format!(", {time} from exit to entry"),
        (Unit::Cycles, _) => words += &format!(", {} cycles", grouped(cycles)),
        (Unit::Time(_), _) => words += &format!(", {} cycles or {time}", grouped(cycles)),
    }
    if let Some(share) = snapshot.cpu_share(cycles) {
        let cpus = counted(snapshot.cpus.unwrap_or(0), "CPU's", "CPUs'");
        words += &format!(": {} of {cpus} time", percent(share));
    }
    if view.selected != view.total {
        let all = format!("(of {} of any reason)", grouped(view.total.exits));
        words += &format!("\n{}", label("", all));
    }
    label("In total", words)
}

/// The rate since the counters started from zero.
pub fn rate(exits: u128, snapshot: &Snapshot) -> String {
    let words = match snapshot.seconds() {
        Some(seconds) => format!(
            "{:.1} exits/s on average over {}",
            exits as f64 / seconds,
            duration(seconds)
        ),
        None if snapshot.origin.is_host() => "unknown: no time has passed".into(),
        None => "unknown: guests are not told when counting began".into(),
    };
    label("Rate", words)
}

/// The line above a table in the words of perf.
pub fn perfs_head(selection: &Selection) -> String {
    let vms = match selection.vms.as_slice() {
        [] => "all VMs".into(),
        vms => format!("VM(s) {}", vms.join(",")),
    };
    let vcpus = match selection.vcpu {
        None => "all VCPUs".into(),
        Some(vcpu) => format!("VCPU {vcpu}"),
    };
    format!("Analyze events for {vms}, {vcpus}:")
}

/// Which times a table in the words of perf has: those from exit to entry, or the handlers'.
pub fn perfs_times(snapshot: &Snapshot, is_from_exit: bool) -> Vec<String> {
    if snapshot.origin.time_of() == TimeOf::ExitToEntry {
        return vec![label("Times", "from exit to entry, as perf measures them")];
    }
    if !is_from_exit {
        let words = "those of KVM's handlers. perf measures from exit to entry, which needs the \
                     phases of a host (module parameter phases)";
        return vec![label("Times", words)];
    }
    let words = "from exit to entry, as perf measures them: all phases but the guest's. Phases do \
                 not tell the shortest and the longest; and exits that were not timed, after \
                 which KVM re-entered the guest at once, count as 0";
    let mut notes = vec![label("Times", words)];
    if snapshot.period.is_none() {
        let words = "(Exits before phases were switched on count, too, but not their times: \
                     exitprof record --for 10 FILE takes a period)";
        notes.push(label("", words));
    }
    notes
}

/// The measurement overhead in the times.
pub fn account(snapshot: &Snapshot, selection: &Selection) -> Option<String> {
    // It cannot be subtracted.
    if selection.by.is_of_keys() {
        return None;
    }
    let account = snapshot.account?;
    let cycles = counted(account.sample_cycles, "cycle", "cycles");
    let words = match selection.net {
        true => format!("{cycles} subtracted from each exit's time"),
        false => format!("{cycles} in each exit's time (--net subtracts them)"),
    };
    Some(label("Overhead", words))
}
