// SPDX-License-Identifier: GPL-2.0

//! Pictures of series.

use super::{
    PIXEL, check_lengths,
    data::{SECOND, series, snapshots},
    light,
    picture::{BLUE, Picture},
};
use exitprof::snapshot::{Owner, Snapshot};

fn draw(snapshots: &[Snapshot], arguments: &[&str]) -> Picture {
    let (_dir, file) = series(snapshots);
    let mut all = arguments.to_vec();
    all.extend(["-i", file.to_str().unwrap()]);
    let picture = Picture::of(&all);
    picture.check_texts();
    picture
}

/// The exits of a reason of all guests in each interval.
fn exits(all: &[Snapshot], name: &str) -> Vec<f64> {
    let of = |snapshot: &Snapshot| {
        let mut rows = snapshot.of(&Owner::All);
        rows.find(|row| &*row.name == name).unwrap().exits
    };
    all.windows(2)
        .map(|pair| (of(&pair[1]) - of(&pair[0])) as f64)
        .collect()
}

/// A line of two points for each interval.
fn check_line(points: &[(f64, f64)], bottom: f64, rates: &[f64]) {
    assert_eq!(points.len(), 2 * rates.len());
    let heights = points.chunks(2).zip(rates).map(|(step, rate)| {
        assert_eq!(step[0].1, step[1].1, "a rate is that of an interval");
        (*rate, bottom - step[0].1)
    });
    check_lengths(&heights.collect::<Vec<_>>());
}

/// The lowest line of the frame.
fn bottom(picture: &Picture) -> f64 {
    picture.text("0s").y - 10.0
}

#[test]
fn lines_are_as_high_as_rates() {
    let all = snapshots(30);
    let picture = draw(&all, &["rate"]);
    let line = |stroke: &str| {
        let mut lines = picture.lines.iter();
        lines
            .find(|line| line.stroke == stroke && line.points.len() > 2)
            .unwrap()
    };
    let rates = exits(&all, "EPT_VIOLATION");
    let points = &line(BLUE).points;
    // The axis is where the lowest rate would be 0.
    let (low, high) = (rates[0], rates[16]);
    let (below, above) = (points[0].1, points[32].1);
    let zero = below + (below - above) * low / (high - low);
    assert!(
        (zero - bottom(&picture)).abs() < 6.0,
        "{zero} {}",
        bottom(&picture)
    );
    check_line(points, zero, &rates);
    check_line(
        &line("#D55E00").points,
        zero,
        &exits(&all, "IO_INSTRUCTION"),
    );
    // Intervals are as wide as they are long, and names are beside the ends of lines.
    let seconds: Vec<f64> = points.chunks(2).map(|step| step[1].0 - step[0].0).collect();
    assert!(
        seconds
            .iter()
            .all(|wide| (wide - seconds[0]).abs() <= PIXEL),
        "{seconds:?}"
    );
    let name = picture.text("EPT_VIOLATION");
    let end = points.last().unwrap();
    assert!(
        (name.y - end.1).abs() < 3.0 && name.left > end.0,
        "{name:?} {end:?}"
    );
    assert!(picture.says("Exits per second"));
}

/// If the counters start from zero, what is unknown is left out.
#[test]
fn a_gap_is_no_line() {
    let mut all = snapshots(20);
    for snapshot in &mut all[10..] {
        snapshot.epoch += 1;
        // Half of the time to the next snapshot is known.
        snapshot.since_ns = Some(all_start(10) - 500_000_000);
    }
    let picture = draw(&all, &["rate", "--reason", "EPT_VIOLATION"]);
    let mut lines = picture.lines.iter().filter(|line| line.stroke == BLUE);
    let (before, after) = (lines.next().unwrap(), lines.next().unwrap());
    assert_eq!(
        [&before.points, &after.points].map(Vec::len),
        [2 * 9, 2 * 10]
    );
    let second = before.points[1].0 - before.points[0].0;
    let gap = after.points[0].0 - before.points.last().unwrap().0;
    assert!((gap - second / 2.0).abs() <= PIXEL, "{gap} {second}");
}

/// When the snapshot of that number was read.
fn all_start(second: u64) -> u64 {
    184_000_000_000 + second * 1_000_000_000
}

#[test]
fn phases_are_stacked_over_time() {
    let picture = draw(&snapshots(20), &["phases"]);
    // The guest is at the bottom: of three vCPUs, a tenth each and some tenths more.
    let guests: Vec<_> = picture
        .filled("#BFBFBF")
        .into_iter()
        .filter(|r| r.width > 13.0)
        .collect();
    assert_eq!(guests.len(), 19);
    let load = |second: u64| {
        (0..3)
            .map(|vcpu| 1 + (second / 5 + vcpu * 3) % 7)
            .sum::<u64>()
    };
    let heights = (0..19)
        .zip(&guests)
        .map(|(second, r)| (load(second) as f64, r.height));
    check_lengths(&heights.collect::<Vec<_>>());
    // All parts of an interval are as high as the axis.
    let column = |x: f64| {
        let rects = picture.rects.iter();
        rects.filter(move |r| (r.x - x).abs() < 0.5 && r.width < 100.0 && r.width > 13.0)
    };
    let high: Vec<f64> = guests
        .iter()
        .map(|guest| column(guest.x).map(|r| r.height).sum())
        .collect();
    assert!(
        high.iter().all(|n| (n - high[0]).abs() <= 3.0 * PIXEL),
        "{high:?}"
    );
    let share = guests[0].height / high[0];
    let want = load(0) as f64 * (SECOND / 10) as f64 / (3 * SECOND) as f64;
    assert!((share - want).abs() < 0.01, "{share} {want}");
    for part in ["guest", "handler", "userspace", "halted", "preempted"] {
        let named = picture.texts.iter().filter(|text| text.text == part);
        assert_eq!(
            named.count(),
            2,
            "{part} in the legend, and beside its area"
        );
    }
}

/// A row for each vCPU, darker where there are more exits.
#[test]
fn heat_maps_have_a_row_for_each_vcpu() {
    let mut all = snapshots(31);
    // One of them ends, and is not seen again.
    let gone = all[0].attached[2].clone();
    for snapshot in &mut all[20..] {
        snapshot.attached.retain(|vcpu| *vcpu != gone);
        snapshot
            .counters
            .retain(|c| c.owner != Owner::Vcpu(gone.clone()));
        snapshot.budgets.clear();
    }
    let picture = draw(&all, &["heatmap"]);
    let cells = |name: &str| {
        let y = picture.text(name).y;
        let rects = picture
            .rects
            .iter()
            .filter(move |r| (r.y..r.y + r.height).contains(&y) && r.height < 40.0);
        rects.collect::<Vec<_>>()
    };
    let first = cells("412-11 vCPU 0");
    // Seven loads of five seconds each, of which neighbours are one rectangle.
    assert_eq!(first.len(), 6);
    assert!(
        first
            .windows(2)
            .all(|pair| light(&pair[0].fill) > light(&pair[1].fill)),
        "{first:?}"
    );
    let ended = cells("977-14 vCPU 0");
    let end = |cells: &[&super::Rect]| cells.iter().map(|r| r.x + r.width).fold(0.0, f64::max);
    let start = first[0].x;
    let share = (end(&ended) - start) / (end(&first) - start);
    assert!((share - 19.0 / 30.0).abs() < 0.01, "{share}");
    assert!(picture.says("Grey: there was no such counter, or nothing is known"));
}

/// A long series has as many intervals as can be seen.
#[test]
fn many_intervals_are_taken_together() {
    let all = snapshots(500);
    let picture = draw(&all, &["rate", "--reason", "EPT_VIOLATION"]);
    let line = picture
        .lines
        .iter()
        .find(|line| line.stroke == BLUE)
        .unwrap();
    // Three seconds each, and two that are left.
    assert_eq!(line.points.len(), 2 * 167);
    assert!(picture.says("8m"));
}

/// Parts of a series: over time, or at one.
#[test]
fn parts_of_series_are_drawn() {
    let all = snapshots(30);
    let picture = draw(&all, &["rate", "--between", "10s", "20s"]);
    let line = picture
        .lines
        .iter()
        .find(|line| line.stroke == BLUE && line.points.len() > 2);
    assert_eq!(line.unwrap().points.len(), 20);
    let picture = draw(&all, &["phases", "--at", "10s"]);
    assert!(picture.says("all vCPUs"));
    let picture = draw(&all, &["exits", "--between", "10s", "11s"]);
    let said = format!("{:.0}", exits(&all, "EPT_VIOLATION")[10]);
    let has = |text: &super::picture::Text| text.text.replace(',', "").starts_with(&said);
    assert!(picture.texts.iter().any(has), "{said}");
}
