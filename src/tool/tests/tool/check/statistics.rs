// SPDX-License-Identifier: GPL-2.0

//! What noise does to the verdict, and how small a change is noticed.

use super::work::{Random, Reason, USUAL, seconds, snapshots};
use exitprof::{
    baseline::{Allowance, Checked, Verdict, check, course::Course},
    select::Selection,
};

/// Noise alone decides.
const STRICT: Allowance = Allowance {
    noise: 5.0,
    percent: 0.0,
};

fn course(reasons: &[Reason], counts: &[Vec<u64>]) -> Course {
    let mut course = Course::new(Selection::everything(), 1.0);
    for snapshot in snapshots(reasons, counts) {
        course.go_on(&snapshot).unwrap();
    }
    course
}

fn checked(reasons: &[Reason], [before, now]: [&[Vec<u64>]; 2]) -> Vec<Checked> {
    let courses = [before, now].map(|counts| course(reasons, counts));
    check([&courses[0], &courses[1]], [1.0; 2], STRICT)
}

/// The share of figures that are above their limits, in many pairs of runs with these lengths.
/// The second run has so many times the exits.
fn share_above(lengths: [u64; 2], times: f64, runs: u64) -> f64 {
    let busier = USUAL.map(|reason| Reason {
        rate: reason.rate * times,
        ..reason
    });
    let (mut above, mut all) = (0, 0);
    for run in 0..runs {
        let mut random = Random(run);
        let before = seconds(&USUAL, lengths[0], &mut random);
        let now = seconds(&busier, lengths[1], &mut random);
        for row in checked(&USUAL, [&before, &now]) {
            all += 1;
            above += usize::from(row.rate.verdict() == Verdict::Above);
        }
    }
    above as f64 / all as f64
}

#[test]
fn noise_seldom_seems_abnormal() {
    let lengths = [[30, 5], [30, 60], [60, 10], [60, 60]];
    let shares = lengths.map(|lengths| share_above(lengths, 1.0, 100));
    let share = shares.iter().sum::<f64>() / 4.0;
    assert!(share < 0.001, "{shares:?}");
}

/// Work varies by a tenth from second to second. A minute shows a change of as much.
#[test]
fn a_change_is_noticed() {
    let share = share_above([60, 60], 1.2, 50);
    assert!(share > 0.7, "{share}");
    let share = share_above([60, 10], 1.5, 50);
    assert!(share > 0.7, "{share}");
}

/// What an interval has in common with the next one is not counted twice.
#[test]
fn slow_changes_are_noise() {
    let wave = |from: u64, slowness: f64| -> Vec<Vec<u64>> {
        let one = |second| {
            let pace = (second as f64 / slowness).sin();
            vec![(1000.0 + 200.0 * pace) as u64, 200, 0]
        };
        (from..from + 60).map(one).collect()
    };
    let noise = |slowness| {
        let [before, now] = [0, 60].map(|from| wave(from, slowness));
        let rows = checked(&USUAL, [&before, &now]);
        rows[1].rate.noise
    };
    assert!(
        noise(10.0) > 2.0 * noise(0.7),
        "{} {}",
        noise(10.0),
        noise(0.7)
    );
}

/// One reason, with these exits in each second.
fn verdict(before: &[u64], now: &[u64]) -> Verdict {
    let counts = |exits: &[u64]| -> Vec<Vec<u64>> { exits.iter().map(|&n| vec![n]).collect() };
    let rows = checked(&USUAL[..1], [&counts(before), &counts(now)]);
    rows.last().unwrap().rate.verdict()
}

#[test]
fn rare_exits_are_judged_by_their_number() {
    let sparse = |each: usize| -> Vec<u64> { (0..60).map(|n| u64::from(n % each == 0)).collect() };
    // 6 in a minute, and then 8, or 60.
    assert_eq!(verdict(&sparse(10), &sparse(8)), Verdict::Normal);
    assert_eq!(verdict(&sparse(10), &sparse(1)), Verdict::Above);
    assert_eq!(verdict(&sparse(1), &[0; 60]), Verdict::Below);
    // Never before.
    let few = |n: u64| [&[n][..], &[0; 59]].concat();
    assert_eq!(verdict(&[0; 60], &few(5)), Verdict::Normal);
    assert_eq!(verdict(&[0; 60], &few(50)), Verdict::Above);
    assert_eq!(verdict(&[0; 600], &few(5)), Verdict::Normal);
    // They come in bursts, and one more comes.
    let bursts = |n: usize| [vec![100; n], vec![0; 60 - n]].concat();
    assert_eq!(verdict(&bursts(2), &bursts(3)), Verdict::Normal);
    assert_eq!(verdict(&bursts(2), &bursts(29)), Verdict::Above);
}

#[test]
fn an_interval_that_is_out_of_line_changes_nothing() {
    let steady: Vec<u64> = (0..60).map(|n| 1000 + n % 7).collect();
    let mut hiccup = steady.clone();
    hiccup[30] = 1_000_000;
    assert_eq!(verdict(&steady, &hiccup), Verdict::Normal);
    let more: Vec<u64> = steady.iter().map(|n| n + 200).collect();
    assert_eq!(verdict(&hiccup, &more), Verdict::Above);
}

/// Exits without noise are as noisy as independent ones.
#[test]
fn no_noise_is_not_trusted() {
    assert_eq!(verdict(&[100; 60], &[101; 60]), Verdict::Normal);
    assert_eq!(verdict(&[100; 60], &[115; 60]), Verdict::Above);
}

#[test]
fn the_allowance_is_the_larger_one() {
    let rows = |allowance| {
        let counts = |n| vec![vec![n]; 60];
        let courses = [1000, 1200].map(|n| course(&USUAL[..1], &counts(n)));
        check([&courses[0], &courses[1]], [1.0; 2], allowance)
    };
    for (noise, percent, verdict) in [
        (5.0, 0.0, Verdict::Above),
        (5.0, 19.9, Verdict::Above),
        (5.0, 20.1, Verdict::Normal),
        (100.0, 0.0, Verdict::Normal),
    ] {
        let rows = rows(Allowance { noise, percent });
        assert_eq!(rows[0].rate.verdict(), verdict, "{noise} {percent}");
    }
}
