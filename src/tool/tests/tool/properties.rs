// SPDX-License-Identifier: GPL-2.0

//! Differences, percentiles and parsing for any numbers and any text.

use exitprof::{
    continuity::Break,
    render::{
        Format, rows,
        units::{self, Unit},
    },
    select::Selection,
    snapshot::{Counter, Owner, Snapshot, Vcpu, histogram::percentile},
    view::View,
};
use profile::{
    counts::Tally,
    detail::{Code, Kind, Kinds, Nested},
    heavy::Entry,
    histogram::{BUCKETS, Histogram, bounds, bucket},
    isa::Isa,
    phases::{PHASES, Spent},
    text::{self, Account, Head, Line},
    trips::{Trips, USERSPACE_EXITS},
};
use proptest::prelude::*;

use crate::host::PROFILE;

fn any_histogram() -> impl Strategy<Value = Histogram> {
    (any::<u64>(), any::<u64>(), any::<[u64; BUCKETS]>())
        .prop_map(|(min, max, buckets)| Histogram { min, max, buckets })
}

/// The histogram of exits that took so many cycles.
fn of(cycles: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    for &cycles in cycles {
        histogram.min = histogram.min.min(cycles);
        histogram.max = histogram.max.max(cycles);
        histogram.buckets[bucket(cycles)] += 1;
    }
    histogram
}

fn any_line() -> impl Strategy<Value = Line<'static, &'static str>> {
    let names = || prop::sample::select(vec!["412-11", "CPUID", "UNKNOWN(7)", "other", "x=y"]);
    let head = (
        any::<[u32; 3]>(),
        any::<[u64; 3]>(),
        any::<[bool; 4]>(),
        any::<bool>(),
    )
        .prop_map(
            |([epoch, tsc_khz, cpus], [id, time_ns, since_ns], [a, b, c, d], vmx)| {
                Line::Head(Head {
                    version: text::VERSION,
                    isa: if vmx { Isa::Vmx } else { Isa::Svm },
                    id,
                    epoch,
                    tsc_khz,
                    time_ns,
                    since_ns,
                    cpus,
                    recording: a,
                    per_vcpu: b,
                    histograms: c,
                    phases: d,
                    details: Kinds((id as u32) & 0xfffe),
                    code: [Code::Off, Code::Page, Code::Exact][(epoch % 3) as usize],
                })
            },
        );
    let account = any::<[u64; 4]>().prop_map(|[a, b, c, d]| {
        Line::Account(Account {
            sample_cycles: a,
            record_cycles: b,
            memory_bytes: c,
            suppressed: d,
        })
    });
    let vcpu = || (names(), any::<u32>(), any::<u64>());
    let attached = vcpu().prop_map(|(vm, vcpu, id)| Line::Attached { vm, vcpu, id });
    let timed = || {
        prop_oneof![
            vcpu().prop_map(|(vm, vcpu, id)| text::Owner::Vcpu { vm, vcpu, id }),
            Just(text::Owner::Ended),
        ]
    };
    let clock = (timed(), any::<[u64; 3]>()).prop_map(|(owner, [since, until, guest])| {
        Line::Clock(text::ClockRow {
            owner,
            since,
            until,
            guest,
        })
    });
    let phases = (timed(), any::<u32>(), names(), any::<[u64; PHASES]>()).prop_map(
        |(owner, reason, name, cycles)| {
            Line::Phases(text::PhasesRow {
                owner,
                cause: text::Cause::Exit(Some(reason)),
                name,
                spent: Spent(cycles),
            })
        },
    );
    let cause = prop_oneof![
        (any::<u32>(), names()).prop_map(|(reason, name)| (text::Cause::Exit(Some(reason)), name)),
        Just((text::Cause::Run, "none")),
    ];
    let trips = (timed(), cause, 0..USERSPACE_EXITS, any::<[u64; 2]>());
    let trips = trips.prop_map(|(owner, (cause, name), exit, [trips, cycles])| {
        Line::Trips(text::TripsRow {
            owner,
            cause,
            name,
            exit,
            trips: Trips { trips, cycles },
        })
    });
    let owner = prop_oneof![
        Just(text::Owner::Host),
        vcpu().prop_map(|(vm, vcpu, id)| text::Owner::Vcpu { vm, vcpu, id }),
        Just(text::Owner::Ended),
        Just(text::Owner::Unattributed),
    ];
    let row = (
        owner,
        any::<Option<u32>>(),
        names(),
        any::<[u64; 3]>(),
        any::<[u64; 4]>(),
        prop::option::of(any_histogram()),
    )
        .prop_map(
            |(owner, reason, name, [exits, cycles, untimed], nested, histogram)| {
                Line::Row(text::Row {
                    owner,
                    reason,
                    name: if reason.is_some() { name } else { "other" },
                    tally: Tally {
                        exits,
                        cycles,
                        untimed,
                    },
                    nested: Nested {
                        l2_exits: nested[0],
                        l2_cycles: nested[1],
                        reflected_exits: nested[2],
                        reflected_cycles: nested[3],
                    },
                    histogram,
                })
            },
        );
    let entry = || {
        any::<[u64; 4]>().prop_map(|[key, exits, cycles, error]| Entry {
            key,
            exits,
            cycles,
            error,
        })
    };
    let kind = prop::sample::select(&Kind::ALL[..]);
    let detail = (timed(), any::<u32>(), names(), kind, 1..=2_u8, entry()).prop_map(
        |(owner, reason, name, kind, level, entry)| {
            Line::Detail(text::DetailRow {
                owner,
                reason,
                name,
                kind,
                level,
                entry,
            })
        },
    );
    let code = (timed(), any::<u32>(), names(), 1..=2_u8, 0..4_u8, entry()).prop_map(
        |(owner, reason, name, level, cpl, entry)| {
            Line::Code(text::CodeRow {
                owner,
                reason: Some(reason),
                name,
                level,
                entry: Entry {
                    key: Code::Exact.key(entry.key, cpl),
                    ..entry
                },
            })
        },
    );
    let end = any::<(u32, u64)>().prop_map(|(epoch, lines)| Line::End { epoch, lines });
    prop_oneof![
        head, account, attached, row, clock, phases, trips, detail, code, end
    ]
}

/// A snapshot with any counters.
fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let row = (0_u32..80, any::<[u64; 3]>(), any_histogram());
    prop::collection::btree_map(0_u32..80, row, 0..40).prop_map(|rows| {
        let mut snapshot = Snapshot::from_text(PROFILE).unwrap();
        let all =
            rows.into_iter().map(
                |(reason, (_, [exits, cycles, untimed], histogram))| Counter {
                    owner: Owner::All,
                    reason: Some(reason),
                    name: Isa::Vmx.name(reason).to_string().into(),
                    exits,
                    cycles,
                    untimed: Some(untimed.min(exits)),
                    histogram: Some(Box::new(histogram)),
                    nested: None,
                },
            );
        snapshot.counters = all.collect();
        snapshot
    })
}

/// A profile with a few changes.
fn any_text() -> impl Strategy<Value = String> {
    let lines = PROFILE.lines().count();
    let change = (0..lines, 0..80_usize, "[ -~\u{0}-\u{ff}]{0,6}");
    prop::collection::vec(change, 0..4).prop_map(|changes| {
        let mut lines: Vec<Vec<char>> = PROFILE.lines().map(|l| l.chars().collect()).collect();
        for (line, at, text) in changes {
            let line = &mut lines[line];
            let at = at.min(line.len());
            let end = (at + 3).min(line.len());
            line.splice(at..end, text.chars());
        }
        let lines: Vec<String> = lines.into_iter().map(|l| l.into_iter().collect()).collect();
        lines.join("\n")
    })
}

/// Checks that the snapshot can be shown.
fn show(snapshot: &Snapshot) {
    for net in [false, true] {
        let selection = Selection {
            net,
            all: true,
            ..Selection::everything()
        };
        if let Ok(view) = View::new(snapshot, &selection) {
            let unit = Unit::of(snapshot, false);
            let mut text = Vec::new();
            let grid = rows::grid(snapshot, &view);
            let sheet = rows::sheet(&grid, &(), &selection, unit, None);
            Format::Table.exporter().sheet(&sheet, &mut text).unwrap();
            let text = anstream::adapter::strip_str(&String::from_utf8(text).unwrap()).to_string();
            assert!(
                text.chars()
                    .all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()),
                "{text}"
            );
        }
    }
}

proptest! {
    #![proptest_config(crate::host::cases())]

    #[test]
    fn lines_are_read_as_they_were_written(line in any_line()) {
        let text = line.to_string();
        prop_assert_eq!(Line::parse(&text), Ok(line));
    }

    #[test]
    fn any_text_is_read_or_refused(text in any_text()) {
        match Snapshot::from_file(&text) {
            Ok(snapshot) => {
                show(&snapshot);
                let json = serde_json::to_string(&snapshot).unwrap();
                prop_assert_eq!(Snapshot::from_file(&json).unwrap(), snapshot);
            }
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }

    #[test]
    fn any_characters_are_read_or_refused(text in "\\PC{0,200}", brace: bool) {
        let _ = Snapshot::from_file(&if brace { format!("{{{text}") } else { text });
    }

    /// A difference exists if no counter is lower, and never exceeds the counters.
    #[test]
    fn any_counters_can_be_shown_and_subtracted(a in any_snapshot(), b in any_snapshot()) {
        show(&a);
        match b.since(&a) {
            Ok(delta) => {
                show(&delta);
                for counter in &delta.counters {
                    let own = b.counters.iter().find(|c| c.reason == counter.reason).unwrap();
                    prop_assert!(counter.exits <= own.exits && counter.cycles <= own.cycles);
                    prop_assert!(counter.untimed <= Some(counter.exits));
                }
            }
            Err(why) => {
                prop_assert_eq!(why, Break::Fell);
                let fell = |counter: &Counter| {
                    let own = b.counters.iter().find(|c| c.reason == counter.reason);
                    own.is_none_or(|own| counter.exits > own.exits || counter.cycles > own.cycles
                        || counter.untimed > own.untimed || own.histogram != counter.histogram)
                };
                prop_assert!(a.counters.iter().any(fell));
            }
        }
    }

    #[test]
    fn differences_add_up(a in any_snapshot(), more in any_snapshot()) {
        let half = |mut snapshot: Snapshot| {
            for counter in &mut snapshot.counters {
                counter.exits /= 2;
                counter.cycles /= 2;
                counter.untimed = counter.untimed.map(|untimed| untimed / 2);
                counter.histogram = None;
            }
            snapshot
        };
        let (a, more) = (half(a), half(more));
        let mut b = a.clone();
        for counter in &more.counters {
            match b.counters.iter_mut().find(|c| c.reason == counter.reason) {
                Some(own) => {
                    own.exits += counter.exits;
                    own.cycles += counter.cycles;
                    own.untimed = Some(own.untimed.unwrap() + counter.untimed.unwrap());
                }
                None => b.counters.push(counter.clone()),
            }
        }
        let delta = b.since(&a).unwrap();
        for counter in more.counters.iter().filter(|counter| counter.exits > 0) {
            let own = delta.counters.iter().find(|c| c.reason == counter.reason).unwrap();
            prop_assert_eq!(own.tally(), counter.tally());
        }
        let counted = more.counters.iter().filter(|counter| counter.exits > 0).count();
        prop_assert_eq!(delta.counters.len(), counted);
        if counted > 0 {
            prop_assert_eq!(a.since(&b), Err(Break::Fell));
        }
    }

    #[test]
    fn percentiles_are_within_a_factor_of_two(
        mut cycles in prop::collection::vec(prop_oneof![0..10_u64, 0..1_u64 << 29, any::<u64>()], 1..200),
        percents in any::<[u8; 2]>(),
    ) {
        let histogram = of(&cycles);
        cycles.sort_unstable();
        let mut percents = percents.map(|p| f64::from(p) * 100.0 / 255.0);
        percents.sort_by(f64::total_cmp);
        let [low, high] = percents.map(|p| percentile(&histogram, p).unwrap());
        prop_assert!(low <= high);
        for (percent, value) in percents.into_iter().zip([low, high]) {
            prop_assert!((cycles[0]..=cycles[cycles.len() - 1]).contains(&value));
            let rank = (cycles.len() as f64 * percent / 100.0).ceil().max(1.0) as usize;
            let exact = cycles[rank.min(cycles.len()) - 1];
            let (first, last) = bounds(bucket(exact));
            prop_assert!((first..=last).contains(&value), "{percent}: {value}, not {exact}");
            if bucket(exact) < BUCKETS - 1 {
                prop_assert!(value <= exact.saturating_mul(2).max(1) && exact <= value.saturating_mul(2).max(1));
            }
        }
    }

    #[test]
    fn percentiles_of_one_value_are_exact(cycles in 0_u64..1 << 52, number in 1_usize..50, p in 0.0..100.0) {
        prop_assert_eq!(percentile(&of(&vec![cycles; number]), p), Some(cycles));
    }

    #[test]
    fn percentiles_of_anything_are_numbers(histogram in any_histogram(), p in -1e9..1e9) {
        let _ = percentile(&histogram, p);
    }

    #[test]
    fn numbers_fit(number: u64, khz in 1_u32..10_000_000) {
        for width in 5..9 {
            prop_assert!(units::count(number as f64, width).len() <= width);
        }
        for unit in [Unit::Cycles, Unit::Time(khz)] {
            let text = unit.show(number as f64);
            prop_assert!(text.len() <= 6, "{}", text);
        }
    }

    /// What an ended VM had counted before is subtracted.
    #[test]
    fn what_ended_before_is_not_counted_again(before in 1..u64::MAX / 4, more in 0..u64::MAX / 4, same_name: bool) {
        let counter = |owner, exits| Counter {
            owner,
            reason: Some(12),
            name: "HLT".into(),
            exits,
            cycles: 0,
            untimed: None,
            histogram: None,
            nested: None,
        };
        let vcpu = || Owner::Vcpu(Vcpu { vm: "5-6".into(), vcpu: 0, id: None });
        let mut a = Snapshot::from_text(PROFILE).unwrap();
        let mut b = a.clone();
        a.counters = vec![counter(vcpu(), before), counter(Owner::Ended, 70)];
        b.counters = vec![counter(Owner::Ended, 70 + before + more)];
        if same_name {
            b.counters.push(counter(vcpu(), before - 1));
        }
        let delta = b.since(&a).unwrap();
        let of = |owner: Owner| delta.of(&owner).map(|counter| counter.exits).sum::<u64>();
        prop_assert_eq!(of(Owner::Ended), more);
        prop_assert_eq!(of(vcpu()), if same_name { before - 1 } else { 0 });
    }
}
