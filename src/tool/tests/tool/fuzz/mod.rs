// SPDX-License-Identifier: GPL-2.0

//! Random profiles, recordings and command lines. What the tool makes of them is compared
//! with a second implementation, which is naive.
//!
//! `EXITPROF_FUZZ_SECONDS` says how long each test goes on.

mod metrics;
mod mutants;
mod naive;
mod pictures;
mod profiles;

use crate::{host::exitprof, schema};
use naive::{Difference, Row, Selection, Sum};
use profiles::{Owner, Profile, REASONS, VCPUS, number, profile};
use proptest::{
    prelude::*,
    test_runner::{TestCaseError, TestRunner},
};
use std::{
    collections::HashMap,
    env, fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Tries random values for a while.
fn fuzz<S: Strategy>(strategy: S, test: impl Fn(&Path, S::Value) -> Result<(), TestCaseError>)
where
    S::Value: Clone,
{
    let seconds = env::var("EXITPROF_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(2.0, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let dir = TempDir::new().unwrap();
    while Instant::now() < end {
        let config = ProptestConfig {
            cases: 16,
            ..crate::host::cases()
        };
        let run = TestRunner::new(config).run(&strategy, |value| test(dir.path(), value));
        if let Err(failure) = run {
            panic!("{failure}");
        }
    }
}

/// Runs the tool. It must not panic.
fn run(dir: &Path, arguments: &[String]) -> Result<Output, TestCaseError> {
    let mut command = exitprof();
    command
        .current_dir(dir)
        .args(arguments)
        .timeout(Duration::from_secs(60));
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    prop_assert!(code.is_some_and(|code| code < 4), "{:?}: {}", code, error);
    prop_assert!(!error.contains("panicked"), "{}", error);
    Ok(output)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(String::from).collect()
}

/// The rows of CSV, by column.
fn table(output: &Output) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    reader.deserialize().map(Result::unwrap).collect()
}

fn selection() -> impl Strategy<Value = Selection> {
    let by = prop::sample::select(vec!["reason", "vm", "vcpu", "vm,reason", "vcpu,reason"]);
    let vms = VCPUS.iter().map(|(vm, _)| *vm).collect::<Vec<_>>();
    let some = |most| prop_oneof![3 => Just(0), 1 => 0..most + 1_usize];
    (
        some(2).prop_flat_map(|n| prop::collection::vec(0..REASONS.len(), n)),
        some(2).prop_flat_map(move |n| prop::collection::vec(prop::sample::select(vms.clone()), n)),
        prop_oneof![4 => Just(None), 1 => (0_u32..3).prop_map(Some)],
        by,
        any::<bool>(),
    )
        .prop_map(|(reasons, vms, vcpu, by, net)| Selection {
            reasons,
            vms,
            vcpu,
            by,
            net,
        })
}

fn arguments(selection: &Selection) -> Vec<String> {
    let mut arguments = words(&format!("--by {}", selection.by));
    for &reason in &selection.reasons {
        let (number, name) = REASONS[reason];
        let reason = if number % 4 == 0 {
            number.to_string()
        } else {
            name.to_lowercase()
        };
        arguments.extend(["--reason".into(), reason]);
    }
    for vm in &selection.vms {
        arguments.extend(["-p".into(), vm.to_string()]);
    }
    arguments.extend(selection.vcpu.map(|vcpu| format!("--vcpu={vcpu}")));
    arguments.extend(selection.net.then(|| "--net".into()));
    arguments
}

fn close(text: &str, number: Option<f64>) -> bool {
    match (text.parse::<f64>(), number) {
        (Ok(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs(),
        (Err(_), None) => text.is_empty(),
        _ => false,
    }
}

/// Checks a row of CSV.
fn check(
    got: &HashMap<String, String>,
    row: &Row,
    all: &Sum,
    overhead: u64,
) -> Result<(), TestCaseError> {
    let Sum {
        exits,
        cycles,
        timed,
        tells,
    } = row.sum;
    prop_assert_eq!(&got["exits"], &exits.to_string());
    prop_assert_eq!(&got["cycles"], &cycles.to_string());
    let untimed = if tells {
        (exits - timed).to_string()
    } else {
        String::new()
    };
    prop_assert_eq!(&got["untimed"], &untimed);
    let percent = |part: u128, whole: u128| (whole > 0).then(|| part as f64 * 100.0 / whole as f64);
    prop_assert!(close(&got["exits_percent"], percent(exits, all.exits)));
    let is_known = timed > 0 || exits == 0;
    let share = percent(cycles, all.cycles).filter(|_| is_known);
    prop_assert!(close(&got["time_percent"], share), "{:?} {:?}", got, share);
    let spread = if exits > 0 {
        row.spread.as_slice()
    } else {
        &[]
    };
    let has_times = timed > 0 && (cycles > 0 || !spread.is_empty());
    let avg = has_times.then(|| cycles as f64 / timed as f64);
    prop_assert!(close(&got["avg"], avg), "{:?} {:?}", got, avg);
    let net = |cycles: u64| cycles.saturating_sub(overhead).to_string();
    let known = |cycles: Option<&u64>| cycles.map_or(String::new(), |&cycles| net(cycles));
    prop_assert_eq!(&got["min"], &known(spread.iter().min()));
    prop_assert_eq!(&got["max"], &known(spread.iter().max()));
    for (column, percent) in [("p50", 50), ("p90", 90), ("p99", 99)] {
        match naive::percentile(spread, percent) {
            None => prop_assert_eq!(&got[column], ""),
            Some((low, high)) => {
                let bounds = low.saturating_sub(overhead)..=high.saturating_sub(overhead);
                let value: u64 = got[column].parse().unwrap();
                prop_assert!(
                    bounds.contains(&value),
                    "{}: {} {:?}",
                    column,
                    value,
                    bounds
                );
            }
        }
    }
    let buckets = got["buckets"].split_whitespace();
    let exits: u64 = buckets
        .map(|b| b.split_once(':').unwrap().1.parse::<u64>().unwrap())
        .sum();
    prop_assert_eq!(exits, spread.len() as u64);
    Ok(())
}

/// Checks a report against the naive one.
fn compare(dir: &Path, profile: &Profile, selection: &Selection) -> Result<(), TestCaseError> {
    fs::write(dir.join("profile"), profile.text()).unwrap();
    let mut all = words("report --format csv -i profile");
    all.extend(arguments(selection));
    let output = run(dir, &all)?;
    let Some((rows, sum)) = naive::report(profile, selection) else {
        prop_assert_eq!(output.status.code(), Some(1));
        return Ok(());
    };
    prop_assert!(output.status.success(), "{:?}", output);
    let got = table(&output);
    prop_assert_eq!(got.len(), rows.len());
    for row in &rows {
        let same =
            |got: &&HashMap<String, String>| got["name"] == row.name && got["owner"] == row.owner;
        let got = got.iter().find(same);
        prop_assert!(got.is_some(), "{:?}", row);
        check(
            got.unwrap(),
            row,
            &sum,
            if selection.net { profile.overhead } else { 0 },
        )?;
    }
    let exits: Vec<u128> = got
        .iter()
        .map(|row| row["exits"].parse().unwrap())
        .collect();
    prop_assert!(exits.is_sorted_by(|a, b| a >= b));
    // As JSON, and as a recording, it is the same.
    let snapshot = exitprof::snapshot::Snapshot::from_text(&profile.text()).unwrap();
    fs::write(
        dir.join("recording"),
        serde_json::to_string(&snapshot).unwrap(),
    )
    .unwrap();
    let mut again = all.clone();
    again[4] = "recording".into();
    prop_assert_eq!(&run(dir, &again)?.stdout, &output.stdout);
    again[2] = "json".into();
    schema::check(
        &String::from_utf8(run(dir, &again)?.stdout).unwrap(),
        "Report",
    );
    for format in ["table", "markdown"] {
        again[2] = format.into();
        prop_assert!(run(dir, &again)?.status.success());
    }
    Ok(())
}

#[test]
fn reports_are_as_a_naive_reader_has_them() {
    fuzz((profile(), selection()), |dir, (profile, selection)| {
        compare(dir, &profile, &selection)
    });
}

/// A profile, and what it may be later: with more of each, or less of one, without a vCPU, or
/// after a reset.
fn two() -> impl Strategy<Value = (Profile, Profile)> {
    let more = prop::collection::vec((number(), number(), 0..3_u64), 24);
    let some = any::<prop::sample::Index>();
    (profile(), more, 0..8, 0..4_u32, some).prop_map(|(mut a, more, kind, newer, some)| {
        let mut b = a.clone();
        b.seconds += 3;
        for (row, (exits, cycles, untimed)) in b.rows.iter_mut().zip(more) {
            row.exits = row.exits.saturating_add(exits);
            row.cycles = row.cycles.saturating_add(cycles);
            row.untimed = row.untimed.saturating_add(untimed);
            let last = row.spread.last().copied();
            row.spread.extend(last);
        }
        match kind {
            0 => b.epoch += 1,
            1 => b.id += 1,
            2 => std::mem::swap(&mut a, &mut b),
            3 if !b.rows.is_empty() => {
                let index = some.index(b.rows.len());
                b.rows[index].exits /= 2;
            }
            4 => {
                b.rows.retain(|row| row.owner != Owner::Vcpu(0));
                b.budgets.retain(|budget| budget.owner != Owner::Vcpu(0));
            }
            _ => (),
        }
        if newer == 0 {
            b.version = 3 - b.version;
        }
        (a, b)
    })
}

#[test]
fn differences_are_as_a_naive_reader_has_them() {
    let by = prop::sample::select(vec!["reason", "vm", "vcpu", "vm,reason", "vcpu,reason"]);
    fuzz((two(), by), |dir, ((a, b), by)| {
        fs::write(dir.join("a"), a.text()).unwrap();
        fs::write(dir.join("b"), b.text()).unwrap();
        let output = run(dir, &words(&format!("diff --format csv --by {by} a b")))?;
        let expected = match naive::diff(&a, &b, by) {
            Difference::Fails => {
                prop_assert_eq!(output.status.code(), Some(1));
                return Ok(());
            }
            Difference::Of(rows) => rows,
        };
        prop_assert!(output.status.success(), "{:?}", output);
        let got = table(&output);
        for (owner, name, sides) in &expected {
            let is_it =
                |row: &&HashMap<String, String>| row["name"] == *name && row["owner"] == *owner;
            let rows: Vec<_> = got.iter().filter(is_it).collect();
            prop_assert!(!rows.is_empty(), "{} {}", owner, name);
            // Of vCPUs, one has an identity, and another not.
            for (side, (exits, cycles)) in ["a", "b"].into_iter().zip(sides) {
                let sum = |column: &str| -> u128 {
                    let column = format!("{side}_{column}");
                    rows.iter()
                        .map(|row| row[&column].parse::<u128>().unwrap())
                        .sum()
                };
                prop_assert_eq!((sum("exits"), sum("cycles")), (*exits, *cycles));
            }
        }
        let names = |row: &HashMap<String, String>| (row["owner"].clone(), row["name"].clone());
        let all: std::collections::BTreeSet<_> = got.iter().map(names).collect();
        prop_assert_eq!(all.len(), expected.len());
        for format in ["table", "json", "markdown"] {
            let run = run(
                dir,
                &words(&format!("diff --format {format} --fail-above 10% a b")),
            )?;
            prop_assert!(run.status.code() != Some(2), "{:?}", run);
        }
        Ok(())
    });
}

/// The guest and all phases of all reasons add up to the time that passed.
#[test]
fn phases_add_up() {
    fuzz(two(), |dir, (a, b)| {
        fs::write(dir.join("a"), a.text()).unwrap();
        fs::write(dir.join("b"), b.text()).unwrap();
        let elapsed = a.budgets.iter().map(|budget| u128::from(budget.elapsed()));
        let elapsed: u128 = elapsed.sum();
        let guest = a.budgets.iter().map(|budget| u128::from(budget.guest));
        let guest: u128 = guest.sum();
        let has_phases = a.version > 1 && !a.budgets.is_empty();

        let report = run(dir, &words("report --phases --format csv -i a"))?;
        let is_too_much = String::from_utf8_lossy(&report.stderr).contains("fit into 64 bits");
        prop_assert_eq!(report.status.success(), has_phases && !is_too_much);
        let number =
            |row: &HashMap<String, String>, column: &str| -> u128 { row[column].parse().unwrap() };
        if report.status.success() {
            let rows = table(&report);
            let spent: u128 = rows.iter().map(|row| number(row, "spent")).sum();
            prop_assert_eq!(spent + guest, elapsed);
            for row in &rows {
                let phases = profile::phases::Phase::ALL.map(|phase| number(row, phase.key()));
                prop_assert_eq!(phases.iter().sum::<u128>(), number(row, "spent"));
                prop_assert_eq!(number(row, "elapsed"), elapsed);
            }
        }
        let diff = run(dir, &words("diff --phases --format csv a b"))?;
        if diff.status.success() {
            let rows = table(&diff);
            let cycles: u128 = rows.iter().map(|row| number(row, "a_cycles")).sum();
            prop_assert_eq!(cycles, elapsed);
            prop_assert_eq!(number(&rows[0], "a_cycles"), guest);
        }
        for line in [
            "diff --phases a b",
            "diff --phases --format json --cycles --vm 412 a b",
            "report --phases -i b",
            "report --phases --reason HLT --format markdown -i b",
            "report --as perf -i b",
        ] {
            let run = run(dir, &words(line))?;
            prop_assert!(run.status.code() != Some(2), "{:?}", run);
        }
        Ok(())
    });
}
