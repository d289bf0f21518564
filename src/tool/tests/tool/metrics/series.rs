// SPDX-License-Identifier: GPL-2.0

//! Series while VMs come and go: their number, their sums, and that none falls.

use crate::host::cases;
use exitprof::{
    series::{By, Series, Values},
    snapshot::Snapshot,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

/// A host of a few VMs whose names come again.
#[derive(Clone, Debug, Default)]
struct Host {
    epoch: u32,
    reads: u64,
    /// vCPUs by identity: VM, number, exits.
    live: BTreeMap<u64, (u64, u32, u64)>,
    ended: u64,
    born: u64,
}

/// What may happen between two readings.
#[derive(Clone, Debug)]
enum Event {
    Start { vm: u64, vcpus: u32 },
    End { vm: u64 },
    Exits { nth: usize, exits: u64 },
    Reset,
}

impl Host {
    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Start { vm, vcpus } => {
                // While one ends, another of the same name may have begun.
                for vcpu in 0..vcpus {
                    self.born += 1;
                    self.live.insert(self.born, (vm, vcpu, 0));
                }
            }
            Event::End { vm } => {
                self.live.retain(|_, (other, _, exits)| {
                    let is_gone = *other == vm;
                    self.ended += if is_gone { *exits } else { 0 };
                    !is_gone
                });
            }
            Event::Exits { nth, exits } => {
                let count = self.live.len().max(1);
                if let Some((.., sum)) = self.live.values_mut().nth(nth % count) {
                    *sum += exits;
                }
            }
            Event::Reset => {
                self.epoch += 1;
                self.ended = 0;
                self.live.values_mut().for_each(|(.., exits)| *exits = 0);
            }
        }
    }

    /// The exits of all.
    fn total(&self) -> u64 {
        self.live.values().map(|(.., exits)| exits).sum::<u64>() + self.ended
    }

    fn read(&mut self) -> Snapshot {
        self.reads += 1;
        let mut text = format!(
            "profile version=2 isa=vmx id=00000000000000aa epoch={} tsc_khz=1000 time_ns={} \
             since_ns=0 cpus=2 recording=1 per_vcpu=1 histograms=0 phases=1\n",
            self.epoch + 1,
            self.reads * 1_000_000_000,
        );
        let counter =
            |exits: u64| format!("reason=12 name=HLT exits={exits} cycles={exits} untimed=0");
        let mut rows = vec![];
        if self.total() > 0 {
            rows.push(format!("host {}", counter(self.total())));
        }
        for (id, (vm, vcpu, exits)) in &self.live {
            let vcpu = format!("vm={vm}-11 vcpu={vcpu} id={id:016x}");
            rows.push(format!("attached {vcpu}"));
            if *exits > 0 {
                rows.push(format!("vcpu {vcpu} {}", counter(*exits)));
                // A phase that has not ended is estimated too high now and then.
                let guest = exits + self.reads % 2;
                rows.push(format!(
                    "vcpu_clock {vcpu} since=0 until={guest} guest={guest}"
                ));
            }
        }
        if self.ended > 0 {
            rows.push(format!("ended {}", counter(self.ended)));
            rows.push(format!(
                "ended_clock since=0 until={0} guest={0}",
                self.ended
            ));
        }
        for row in &rows {
            writeln!(text, "{row}").unwrap();
        }
        writeln!(
            text,
            "end epoch={} lines={}",
            self.epoch + 1,
            rows.len() + 2
        )
        .unwrap();
        let mut snapshot = Snapshot::from_text(&text).unwrap();
        snapshot.clock = jiff::Timestamp::from_second(1_000_000 + self.reads as i64).ok();
        snapshot
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1..6_u64, 1..4_u32).prop_map(|(vm, vcpus)| Event::Start { vm, vcpus }),
        2 => (1..6_u64).prop_map(|vm| Event::End { vm }),
        8 => (0..20_usize, 1..1000_u64).prop_map(|(nth, exits)| Event::Exits { nth, exits }),
        1 => Just(Event::Reset),
    ]
}

/// Exits and time in the guest of each series.
type Shown = BTreeMap<String, (u64, u64)>;
/// The identities of vCPUs, by the names of series.
type Members = BTreeMap<String, BTreeSet<u64>>;

/// What is shown; "other" and "ended" are two of the series.
fn shown(values: &Values) -> Shown {
    let exits = |part: &exitprof::series::Part| {
        let exits = part.tallies.get("HLT").map_or(0, |tally| tally.exits);
        (exits, part.phases.guest)
    };
    let groups = values.groups.iter();
    let mut all: BTreeMap<_, _> = groups
        .map(|group| {
            let vcpu = group
                .label
                .vcpu
                .map_or_else(String::new, |n| format!(" {n}"));
            (format!("{}{vcpu}", group.label.vm), exits(&group.part))
        })
        .collect();
    all.insert("other".into(), values.other.as_ref().map_or((0, 0), exits));
    all.insert("ended".into(), exits(&values.ended));
    all
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn series_add_up_and_never_fall(
        rounds in prop::collection::vec(prop::collection::vec(event(), 0..5), 1..12),
        limit in 0..4_usize,
        by in prop::sample::select(vec![By::Vm, By::Vcpu]),
    ) {
        let mut host = Host::default();
        let mut series = Series::new(by, limit);
        let mut before: Option<(u32, Shown, Members)> = None;
        for round in rounds {
            round.iter().for_each(|event| host.happen(event));
            let values = series.next(&host.read());
            let now = shown(&values);
            prop_assert!(values.groups.len() <= limit);
            let sum: u64 = now.values().map(|(exits, _)| exits).sum();
            prop_assert_eq!(sum, host.total());
            // The vCPUs that there are of each name.
            let mut names = Members::new();
            for (id, (vm, vcpu, _)) in &host.live {
                let name = match by {
                    By::Vcpu => format!("{vm}-11 {vcpu}"),
                    _ => format!("{vm}-11"),
                };
                names.entry(name).or_default().insert(*id);
            }
            if let Some((epoch, earlier, members)) = &before
                && *epoch == host.epoch
            {
                for (name, (exits, guest)) in earlier {
                    // Another VM of the same name begins from zero.
                    let is_same = ["other", "ended"].contains(&name.as_str())
                        || names.get(name).is_some_and(|now| !now.is_disjoint(&members[name]));
                    if is_same {
                        let later = now.get(name);
                        prop_assert!(later.is_some(), "{name} is lost");
                        let later = later.unwrap();
                        prop_assert!(later.0 >= *exits && later.1 >= *guest, "{name} fell: {earlier:?} {now:?}");
                    }
                }
                // Of those that had none, none gets series while it exists.
                for name in now.keys().filter(|name| !earlier.contains_key(*name)) {
                    let was_there = members.get(name).zip(names.get(name));
                    let is_new = was_there.is_none_or(|(a, b)| a.is_disjoint(b));
                    prop_assert!(is_new, "{name} moved: {earlier:?} {now:?}");
                }
            }
            before = Some((host.epoch, now, names));
        }
    }
}

#[test]
fn series_say_when_they_were_zero() {
    let mut host = Host::default();
    let mut series = Series::new(By::Vm, 9);
    host.happen(&Event::Start { vm: 1, vcpus: 1 });
    let first = series.next(&host.read());
    // The counters, when the host began; and a VM that came since, when it was not yet seen.
    let began = jiff::Timestamp::from_second(1_000_000).ok();
    assert_eq!((first.started, first.groups[0].created), (began, began));
    host.happen(&Event::Start { vm: 2, vcpus: 1 });
    let second = series.next(&host.read());
    let seen = jiff::Timestamp::from_second(1_000_001).ok();
    let created: Vec<_> = second.groups.iter().map(|group| group.created).collect();
    assert_eq!(created, [began, seen]);
    // The clock of the first reading is kept, though clocks drift.
    let mut late = host.read();
    late.clock = late
        .clock
        .map(|clock| clock + jiff::SignedDuration::from_millis(7));
    assert_eq!(series.next(&late).started, began);
    host.happen(&Event::Reset);
    let mut again = host.read();
    again.since_ns = Some(again.time_ns - 500_000_000);
    let again = series.next(&again);
    let reset = jiff::Timestamp::from_millisecond(1_000_003_500).ok();
    assert_eq!((again.started, again.groups[0].created), (reset, reset));
}
