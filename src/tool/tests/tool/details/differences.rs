// SPDX-License-Identifier: GPL-2.0

//! Details of vCPUs whose tables lose keys, beside what each key really had.

use crate::host::cases;
use exitprof::{
    select::{By, Selection, What},
    snapshot::{Owner, Snapshot},
    view::View,
};
use profile::heavy::{Entry, Set, Sums};
use proptest::prelude::*;
use std::{collections::BTreeMap, fmt::Write, sync::atomic::AtomicU32};

/// The cycles of an exit with a key.
fn cycles(key: u64) -> u64 {
    100 + key % 7
}

/// Exits by key, as they really were.
type Truth = BTreeMap<u64, u64>;

/// A vCPU as the module has it, with a table of which one set is used: with 1 as the
/// multiplier, that is where the hash puts small keys.
struct Vcpu {
    sets: [Set; 2],
    /// Exits before details were switched on.
    early: u64,
    truth: Truth,
    has_ended: bool,
}

/// What the module has.
struct Module {
    vcpus: Vec<Vcpu>,
    ended: Sums<2>,
    ended_exits: (u64, u64),
}

impl Vcpu {
    fn count(&mut self, key: u64) {
        self.sets[0].count(key, cycles(key), &AtomicU32::new(0));
        *self.truth.entry(key).or_default() += 1;
    }

    /// Its exits and cycles.
    fn sum(&self) -> (u64, u64) {
        let of_keys = self.truth.iter();
        let (exits, sum) = of_keys.fold((0, 0), |sum, (key, exits)| {
            (sum.0 + exits, sum.1 + exits * cycles(*key))
        });
        (exits + self.early, sum + 50 * self.early)
    }
}

impl Module {
    fn new(early: &[u64]) -> Module {
        let vcpu = |&early| Vcpu {
            sets: [Set::EMPTY; 2],
            early,
            truth: Truth::new(),
            has_ended: false,
        };
        Module {
            vcpus: early.iter().map(vcpu).collect(),
            ended: Sums::NONE,
            ended_exits: (0, 0),
        }
    }

    /// Ends a vCPU, whose details are added to those that have ended.
    fn end(&mut self, index: usize) {
        let vcpu = &mut self.vcpus[index];
        if !vcpu.has_ended {
            vcpu.has_ended = true;
            self.ended.add(&vcpu.sets, 1, 1);
            let (exits, cycles) = vcpu.sum();
            self.ended_exits.0 += exits;
            self.ended_exits.1 += cycles;
        }
    }

    /// What it shows in debugfs.
    fn snapshot(&self, seconds: u64) -> Snapshot {
        let mut text = format!(
            "profile version=2 isa=vmx id=00000000000000aa epoch=7 tsc_khz=2000000 \
             time_ns={seconds}000000000 since_ns=0 cpus=2 recording=1 per_vcpu=1 histograms=0 \
             phases=0 details=io code=off\n"
        );
        let mut all = self.ended_exits;
        let mut rows = |whose: &str, suffix: &str, (exits, cycles): (u64, u64), set: &Set| {
            let reason = "reason=30 name=IO_INSTRUCTION";
            if exits > 0 {
                let _ = writeln!(
                    text,
                    "{whose}{suffix} {reason} exits={exits} cycles={cycles} untimed=0"
                );
            }
            for Entry {
                key,
                exits,
                cycles,
                error,
            } in set.entries()
            {
                let _ = writeln!(
                    text,
                    "{whose}_detail{suffix} {reason} kind=io level=1 key={key:x} exits={exits} \
                     cycles={cycles} error={error}"
                );
            }
        };
        rows("ended", "", self.ended_exits, &self.ended.sets()[0]);
        for (id, vcpu) in self.vcpus.iter().enumerate().filter(|(_, v)| !v.has_ended) {
            let (exits, cycles) = vcpu.sum();
            all = (all.0 + exits, all.1 + cycles);
            let suffix = format!(" vm=1-1 vcpu={id} id={:x}", id + 1);
            rows("vcpu", &suffix, (exits, cycles), &vcpu.sets[0]);
        }
        let none = Set::EMPTY;
        rows("host", "", all, &none);
        let lines = text.lines().count() + 1;
        Snapshot::from_text(&(text + &format!("end epoch=7 lines={lines}\n"))).unwrap()
    }

    fn truth(&self) -> Vec<Truth> {
        self.vcpus.iter().map(|vcpu| vcpu.truth.clone()).collect()
    }
}

/// What each key had since, by vCPU.
fn added(now: &[Truth], before: &[Truth]) -> Vec<Truth> {
    let each = now.iter().zip(before);
    each.map(|(now, before)| {
        let more = |(key, exits): (&u64, &u64)| (*key, exits - before.get(key).unwrap_or(&0));
        now.iter().map(more).collect()
    })
    .collect()
}

/// Checks each detail of a snapshot against the truth by vCPU, and that all add up.
fn check(snapshot: &Snapshot, truth: &[Truth]) {
    for entry in &snapshot.details {
        if let Owner::Vcpu(vcpu) = &entry.owner {
            let own = truth[vcpu.vcpu as usize].get(&entry.key.key.0).copied();
            let own = own.unwrap_or(0);
            assert!(
                (entry.exits..=entry.exits + entry.error).contains(&own),
                "{own} is not {entry:?}"
            );
        }
    }
    let selection = Selection {
        by: By::Detail,
        ..Selection::everything()
    };
    let view = View::new(snapshot, &selection).unwrap();
    let sum: u128 = view.rows.iter().map(|row| row.exits).sum();
    let cycles: u128 = view.rows.iter().map(|row| row.cycles).sum();
    assert_eq!((sum, cycles), (view.total.exits, view.total.cycles));
    for row in &view.rows {
        if let Some(What::Detail(detail)) = row.what {
            let own = truth.iter().filter_map(|truth| truth.get(&detail.key.0));
            let own: u128 = own.map(|&exits| u128::from(exits)).sum();
            let error = row.error.unwrap();
            assert!(row.exits <= own, "{own} is less than {row:?}");
            assert!(own <= row.exits + error, "{own} is more than {row:?}");
        }
    }
}

/// What happens: an exit of a vCPU with a key, or with no key for its end.
type Event = (usize, Option<u64>);

const VCPUS: usize = 3;

fn events(keys: u64) -> impl Strategy<Value = Vec<Event>> {
    // Some keys are more frequent than others.
    let key = (0..keys, 0..keys).prop_map(|(a, b)| Some(0x1_0000 | a.min(b)));
    let what = prop_oneof![60 => key, 1 => Just(None)];
    prop::collection::vec((0..VCPUS, what), 0..300)
}

fn happen(module: &mut Module, events: &[Event]) {
    for &(vcpu, what) in events {
        match what {
            Some(key) if !module.vcpus[vcpu].has_ended => module.vcpus[vcpu].count(key),
            Some(_) => (),
            None => module.end(vcpu),
        }
    }
}

/// A vCPU ends, and its key takes an entry from others that have ended, as few as its own
/// that are new: none is certain to be new.
#[test]
fn what_may_be_new_bounds_a_key() {
    let exits = |vcpu: usize, keys: &[u64]| -> Vec<Event> {
        keys.iter()
            .map(|key| (vcpu, Some(0x1_0000 | key)))
            .collect()
    };
    let mut module = Module::new(&[0; VCPUS]);
    happen(&mut module, &exits(0, &[0]));
    happen(&mut module, &exits(2, &[0, 1]));
    happen(
        &mut module,
        &exits(1, &[3, 4, 2, 4, 0, 5, 1, 7, 7, 9, 6, 5, 3, 2]),
    );
    module.end(2);
    happen(&mut module, &exits(1, &[8]));
    let (before, at_first) = (module.truth(), module.snapshot(1));
    happen(&mut module, &exits(1, &[0]));
    module.end(1);
    happen(&mut module, &exits(0, &[0]));
    let now = module.snapshot(2);
    let truth = added(&module.truth(), &before);
    check(&now.since(&at_first).unwrap(), &truth);
}

proptest! {
    #![proptest_config(cases())]

    /// As long as all keys fit, differences are exact, whatever ends.
    #[test]
    fn differences_of_few_keys_are_exact(
        early in prop::array::uniform3(0..50_u64),
        first in events(8),
        second in events(8),
    ) {
        let mut module = Module::new(&early);
        happen(&mut module, &first);
        let (before, at_first) = (module.truth(), module.snapshot(1));
        check(&at_first, &before);
        happen(&mut module, &second);
        let now = module.snapshot(2);
        check(&now, &module.truth());
        let delta = now.since(&at_first).unwrap();
        prop_assert!(delta.details.iter().all(|entry| entry.error == 0));
        let truth = added(&module.truth(), &before);
        check(&delta, &truth);
        let sum: u64 = truth.iter().flat_map(|truth| truth.values()).sum();
        let told: u64 = delta.details.iter().map(|entry| entry.exits).sum();
        prop_assert_eq!(told, sum);
    }

    /// Otherwise they are never more than what is certain, and the error bounds the rest.
    #[test]
    fn differences_of_many_keys_are_bounded(
        early in prop::array::uniform3(0..50_u64),
        first in events(20),
        second in events(20),
        ends: bool,
    ) {
        let stays = |events: &[Event]| -> Vec<Event> {
            let events = events.iter().copied();
            events.filter(|(_, what)| ends || what.is_some()).collect()
        };
        let mut module = Module::new(&early);
        happen(&mut module, &stays(&first));
        let (before, at_first) = (module.truth(), module.snapshot(1));
        check(&at_first, &before);
        happen(&mut module, &stays(&second));
        let now = module.snapshot(2);
        check(&now, &module.truth());
        let truth = added(&module.truth(), &before);
        check(&now.since(&at_first).unwrap(), &truth);
    }

    /// Entries of anything have differences that are parts of the counters'.
    #[test]
    fn differences_of_anything_are_parts(numbers in prop::collection::vec(any::<[u64; 4]>(), 0..12)) {
        let text = |half: usize| {
            let mut text = String::from(
                "profile version=2 isa=vmx id=00000000000000aa epoch=7 tsc_khz=2000000 \
                 time_ns=5 since_ns=0 cpus=2 recording=1 per_vcpu=1 histograms=0 \
                 phases=0 details=io code=off\n",
            );
            for (whose, suffix) in [("vcpu", " vm=1-1 vcpu=0 id=1"), ("ended", "")] {
                let reason = "reason=30 name=IO_INSTRUCTION";
                let exits = 1_000 * (half + 1);
                text += &format!("{whose}{suffix} {reason} exits={exits} cycles={exits} untimed=0\n");
                for [key, exits, cycles, error] in numbers.iter().skip(half * 2) {
                    text += &format!(
                        "{whose}_detail{suffix} {reason} kind=io level=1 key={:x} exits={exits} \
                         cycles={cycles} error={error}\n",
                        key % 4
                    );
                }
            }
            let lines = text.lines().count() + 1;
            Snapshot::from_text(&(text + &format!("end epoch=7 lines={lines}\n"))).unwrap()
        };
        let (before, now) = (text(0), text(1));
        for snapshot in [now.since(&before).unwrap(), now, before] {
            for counter in &snapshot.counters {
                let own = snapshot.details.iter().filter(|entry| entry.owner == counter.owner);
                let (exits, cycles) = own.fold((0, 0), |sum, entry| {
                    (sum.0 + entry.exits, sum.1 + entry.cycles)
                });
                prop_assert!(exits <= counter.exits && cycles <= counter.cycles);
            }
        }
    }
}

/// Leaf 1 ignores ECX, and leaf 7 does not.
#[test]
fn keys_that_mean_the_same_are_added_up() {
    let text = |error: u64| {
        let mut text = String::from(
            "profile version=2 isa=vmx id=00000000000000aa epoch=7 tsc_khz=2000000 time_ns=5 \
             since_ns=0 cpus=2 recording=1 per_vcpu=1 histograms=0 phases=0 details=cpuid code=off\n",
        );
        let vcpu = " vm=1-1 vcpu=0 id=1 reason=10 name=CPUID";
        text += &format!("vcpu{vcpu} exits=100 cycles=1000 untimed=0\n");
        for (key, exits) in [
            (0x1, 10),
            (0x77_0000_0001_u64, 20),
            (0x7, 30),
            (0x1_0000_0007, 5),
        ] {
            text += &format!(
                "vcpu_detail{vcpu} kind=cpuid level=1 key={key:x} exits={exits} cycles={exits} \
                 error={error}\n"
            );
        }
        Snapshot::from_text(&(text + "end epoch=7 lines=7\n")).unwrap()
    };
    let rows = |error| {
        let selection = Selection {
            by: By::Detail,
            ..Selection::everything()
        };
        let view = View::new(&text(error), &selection).unwrap();
        let row = |row: &exitprof::view::Row| (row.name.to_string(), row.exits, row.error);
        view.rows.iter().map(row).collect::<Vec<_>>()
    };
    let wanted = |errors: [u128; 3]| {
        [
            ("0x1 features".into(), 30, Some(errors[0])),
            ("0x7.0x0 features".into(), 30, Some(errors[1])),
            ("0x7.0x1 features".into(), 5, Some(errors[2])),
            ("others".into(), 35, Some(0)),
        ]
    };
    assert_eq!(rows(0), wanted([0; 3]));
    // A third key of leaf 1 may have been lost, too.
    assert_eq!(rows(3), wanted([9, 3, 3]));
}

/// A number in the profile, and what to write there.
fn change() -> impl Strategy<Value = (prop::sample::Index, &'static str)> {
    let numbers = vec![
        "0",
        "1",
        "40",
        "977-14",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "ffffffffffffffff",
        "io",
        "",
    ];
    (any::<prop::sample::Index>(), prop::sample::select(numbers))
}

/// The profile with other values.
fn changed(changes: &[(prop::sample::Index, &'static str)]) -> String {
    let mut parts: Vec<&str> = super::DETAILS.split_inclusive(['=', ' ', '\n']).collect();
    for (index, value) in changes {
        let index = index.index(parts.len());
        let end = parts[index].chars().last().unwrap_or(' ');
        // Its separator stays.
        parts[index] = value;
        let separator = ["=", " ", "\n"].iter().find(|s| s.starts_with(end));
        parts.insert(index + 1, separator.unwrap_or(&" "));
    }
    parts.concat()
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever is in a profile, it is refused, or its details and places add up.
    #[test]
    fn any_profile_adds_up_or_is_refused(
        first in prop::collection::vec(change(), 0..4),
        second in prop::collection::vec(change(), 0..4),
    ) {
        let read = |changes| Snapshot::from_text(&changed(changes)).ok();
        let (Some(first), Some(second)) = (read(&first), read(&second)) else {
            return Ok(());
        };
        let delta = second.since(&first).ok();
        let json = serde_json::to_string(&second).unwrap();
        prop_assert_eq!(&Snapshot::from_file(&json).unwrap(), &second);
        for snapshot in [first, second].into_iter().chain(delta) {
            for by in [By::Detail, By::Rip, By::RipReason] {
                let selection = Selection { by, ..Selection::everything() };
                let Ok(view) = View::new(&snapshot, &selection) else {
                    continue;
                };
                let sums = view.rows.iter().fold((0, 0), |sum, row| {
                    (sum.0 + row.exits, sum.1 + row.cycles)
                });
                prop_assert_eq!(sums, (view.total.exits, view.total.cycles));
            }
            for counter in &snapshot.counters {
                if let Some(nested) = &counter.nested {
                    prop_assert!(nested.reflected <= nested.l2 && nested.l2 <= counter.exits);
                }
            }
        }
    }
}
