// SPDX-License-Identifier: GPL-2.0

//! Pictures: what is drawn is what was counted, and can be read.

mod command;
mod data;
mod over_time;
pub mod picture;

use crate::host::{PROFILE, data as file, exitprof, output};
use exitprof::{
    render::units,
    select::Selection,
    snapshot::Snapshot,
    view::{Row, View},
};
use picture::{BEFORE, BLUE, GREY, Picture, Rect, SKY};

/// How much lengths may differ from numbers: bars begin and end at whole pixels, also the longest.
const PIXEL: f64 = 2.0;

fn path(name: &str) -> String {
    file(name).to_str().unwrap().into()
}

fn view(profile: &str) -> View {
    let snapshot = Snapshot::from_text(profile).unwrap();
    View::new(&snapshot, &Selection::everything()).unwrap()
}

/// Checks that bars are as long as numbers, of which the greatest has the longest.
fn check_lengths(bars: &[(f64, f64)]) {
    let most = bars.iter().map(|(number, _)| *number).fold(0.0, f64::max);
    let longest = bars.iter().map(|(_, length)| *length).fold(0.0, f64::max);
    assert!(longest > 100.0, "{bars:?}");
    for (number, length) in bars {
        let want = number / most * longest;
        // What is not nothing has two pixels.
        let want = if *number > 0.0 { want.max(2.0) } else { 0.0 };
        assert!(
            (length - want).abs() <= PIXEL,
            "{length} for {number}, not {want}"
        );
    }
}

/// The bars beside the name of a row: that of exits, and perhaps that of time.
fn bars<'a>(picture: &'a Picture, name: &str, colour: &str) -> Vec<&'a Rect> {
    picture.beside(name, colour)
}

#[test]
fn bars_are_as_long_as_exits_and_time() {
    let picture = Picture::of(&["exits", "-i", &path("host-v2.txt")]);
    picture.check_texts();
    assert!(picture.title.contains("VM exits"), "{}", picture.title);
    let (mut exits, mut times) = (Vec::new(), Vec::new());
    for row in view(PROFILE).rows {
        let is_timed = row.untimed != Some(row.exits);
        let bars = bars(&picture, &row.name, BLUE);
        assert_eq!(bars.len(), if is_timed { 2 } else { 1 }, "{}", row.name);
        let share = |share: Option<f64>| units::percent(share.unwrap() / 100.0);
        let said = format!(
            "{} ({})",
            units::grouped(row.exits),
            share(row.exits_percent)
        );
        assert_eq!(picture.label(bars[0]), said);
        exits.push((row.exits as f64, bars[0].width));
        if is_timed {
            let time = units::time(row.cycles as f64 / 2.4);
            let said = format!("{time} ({})", share(row.time_percent));
            assert_eq!(picture.label(bars[1]), said);
            times.push((row.cycles as f64, bars[1].width));
        }
    }
    check_lengths(&exits);
    check_lengths(&times);
    assert_eq!(times.len() + 1, exits.len());
    assert!(picture.says("not timed"));
}

/// What there is no room for is one bar, so that all bars add up.
#[test]
fn others_are_one_bar() {
    let picture = Picture::of(&[
        "exits",
        "--top",
        "1",
        "--sort",
        "time",
        "-i",
        &path("host-v2.txt"),
    ]);
    picture.check_texts();
    let rows = view(PROFILE).rows;
    let (first, others): (Vec<&Row>, Vec<&Row>) =
        rows.iter().partition(|row| &*row.name == "EPT_VIOLATION");
    let name = format!("{} others", others.len());
    for (index, figure) in [|row: &Row| row.exits, |row: &Row| row.cycles]
        .into_iter()
        .enumerate()
    {
        let sum = |rows: &[&Row]| rows.iter().map(|row| figure(row) as f64).sum::<f64>();
        let shown = bars(&picture, "EPT_VIOLATION", BLUE)[index].width;
        let rest = bars(&picture, &name, GREY)[index].width;
        check_lengths(&[(sum(&first), shown), (sum(&others), rest)]);
    }
}

#[test]
fn cycles_are_shown_where_no_time_is_known() {
    let picture = Picture::of(&["exits", "--cycles", "-i", &path("host-v2.txt")]);
    assert!(picture.says("Cycles in handlers"));
    assert!(
        picture
            .texts
            .iter()
            .any(|text| text.text.starts_with("40.7M (92.43%)"))
    );
}

/// Bars of A and B, and by how much they differ.
#[test]
fn changes_are_two_bars() {
    let files = [path("host-v2.txt"), path("boot.txt")];
    let picture = Picture::of(&["exits", "-i", &files[0], "-i", &files[1], "--top", "5"]);
    picture.check_texts();
    let [a, b] = files.map(|file| {
        let text = std::fs::read_to_string(file).unwrap();
        let snapshot = Snapshot::from_text(&text).unwrap();
        (view(&text), snapshot.seconds().unwrap())
    });
    let rate = |(view, seconds): &(View, f64), name: &str| {
        view.rows
            .iter()
            .find(|row| &*row.name == name)
            .unwrap()
            .exits as f64
            / seconds
    };
    let mut lengths = Vec::new();
    for name in ["EPT_VIOLATION", "IO_INSTRUCTION", "EPT_MISCONFIG", "CPUID"] {
        let y = picture.text(name).y;
        let near = |colour| {
            let mut rects = picture.filled(colour);
            rects.retain(|rect| (rect.y + rect.height / 2.0 - y).abs() < 15.0);
            rects[0].clone()
        };
        let (before, after) = (near(BEFORE), near(BLUE));
        let numbers = [rate(&a, name), rate(&b, name)];
        let change = units::change((numbers[1] / numbers[0] - 1.0) * 100.0);
        let said = format!("{} ({change})", units::rate(numbers[1], 6));
        assert_eq!(picture.label(&after), said);
        lengths.extend([(numbers[0], before.width), (numbers[1], after.width)]);
    }
    check_lengths(&lengths);
    assert!(picture.says("Exits per second"));
}

/// Buckets are bars, as high as they have exits, from bound to bound; percentiles are lines.
#[test]
fn histograms_are_as_high_as_buckets() {
    let picture = Picture::of(&["histogram", "--reason", "CPUID", "-i", &path("host-v2.txt")]);
    picture.check_texts();
    let rows = view(PROFILE).rows;
    let row = rows.iter().find(|row| &*row.name == "CPUID").unwrap();
    let taken: Vec<_> = row.buckets.iter().filter(|bucket| bucket.2 > 0).collect();
    let bars = picture.filled(BLUE);
    assert_eq!(bars.len(), taken.len());
    let heights = taken
        .iter()
        .zip(&bars)
        .map(|(bucket, bar)| (bucket.2 as f64, bar.height));
    check_lengths(&heights.collect::<Vec<_>>());
    let bottom = bars[0].y + bars[0].height;
    for (&&(from, _, exits), bar) in taken.iter().zip(&bars) {
        assert_eq!(bar.y + bar.height, bottom);
        let from = picture.text(&units::time(from as f64 / 2.4));
        let left = (from.left + from.right) / 2.0;
        assert!((left - bar.x).abs() < 4.0, "{from:?} {bar:?}");
        let said = picture.text(&units::count(exits as f64, 6));
        assert!((said.y - bar.y + 9.0).abs() < 3.0, "{said:?} {bar:?}");
    }
    // The maximum is in the last bar, and its line is where its logarithm is.
    let (last, bar) = (taken.last().unwrap(), bars.last().unwrap());
    let max = row.max.unwrap();
    let share = (max as f64 / last.0 as f64).log2();
    let line = picture.lines.iter().rfind(|line| line.stroke == "#D55E00");
    let x = line.unwrap().points[0].0;
    assert!(
        (x - bar.x - share * bar.width).abs() < 5.0,
        "{x} {bar:?} {share}"
    );
    assert!(picture.says(&format!("max {}", units::time(max as f64 / 2.4))));
}

/// B is bars, and A an outline, both as shares.
#[test]
fn histograms_are_compared() {
    let files = [path("host-v2.txt"), path("boot.txt")];
    let picture = Picture::of(&[
        "histogram",
        "--reason",
        "CPUID",
        "-i",
        &files[0],
        "-i",
        &files[1],
    ]);
    picture.check_texts();
    let counts = |file: &str| {
        let view = view(&std::fs::read_to_string(file).unwrap());
        let row = view
            .rows
            .into_iter()
            .find(|row| &*row.name == "CPUID")
            .unwrap();
        let exits = |(.., exits): &(u64, u64, u64)| *exits as f64 / row.exits as f64;
        row.buckets.iter().map(exits).collect::<Vec<_>>()
    };
    let [a, b] = files.map(|file| counts(&file));
    let outline = picture
        .lines
        .iter()
        .find(|line| line.points.len() > 4)
        .unwrap();
    let points = &outline.points;
    let bottom = points[0].1;
    // After the start, two for each bucket.
    let heights: Vec<(f64, f64)> = (a.iter().enumerate())
        .map(|(bucket, share)| (*share, bottom - points[1 + 2 * bucket].1))
        .collect();
    let bars = picture
        .filled(SKY)
        .into_iter()
        .filter(|rect| rect.width > 13.0);
    let taken = b.iter().filter(|share| **share > 0.0);
    let mut all: Vec<(f64, f64)> = taken.zip(bars).map(|(n, bar)| (*n, bar.height)).collect();
    all.extend(heights.into_iter().filter(|(_, height)| *height >= 2.0));
    assert!(all.len() > 6, "{all:?}");
    check_lengths(&all);
}

/// At half the frequency, the same cycles are twice the time: one bucket more.
#[test]
fn histograms_of_other_clocks_are_moved() {
    let slower = PROFILE
        .replace("tsc_khz=2400000", "tsc_khz=1200000")
        .replace("epoch=7", "epoch=8");
    let host = crate::host::Host::new(&slower);
    let slower = host.0.path().join("kvm_exitprof/profile");
    let (a, b) = (slower.to_str().unwrap(), path("host-v2.txt"));
    let picture = Picture::of(&[
        "histogram",
        "--reason",
        "HLT",
        "--reason",
        "CPUID",
        "-i",
        a,
        "-i",
        &b,
    ]);
    picture.check_texts();
    let outline = picture.lines.iter().find(|line| line.points.len() > 4);
    let outline = outline.unwrap().points[0].0;
    let bars = picture
        .filled(SKY)
        .into_iter()
        .filter(|rect| rect.width > 13.0);
    let bars: Vec<&Rect> = bars.collect();
    let bucket = bars[1].x - bars[0].x;
    assert!(
        (outline - bars[0].x - bucket).abs() < 3.0,
        "{outline} {bars:?}"
    );
}

/// Parts are as long as in the report, one after the other.
#[test]
fn phases_are_stacked() {
    let input = path("phases.txt");
    let picture = Picture::of(&["phases", "-i", &input]);
    picture.check_texts();
    let mut report = exitprof();
    report.args(["report", "--phases", "--format", "json", "-i", &input]);
    let json: serde_json::Value = serde_json::from_str(&output(&mut report)).unwrap();
    let cycles = |row: &serde_json::Value, field: &str| row[field].as_f64().unwrap();
    let elapsed = cycles(&json, "elapsed");
    let all = picture.text("all vCPUs").y;
    let row = |y: f64| {
        let rects = picture.rects.iter();
        rects.filter(move |rect| (rect.y..rect.y + rect.height).contains(&y) && rect.height < 30.0)
    };
    let guest = row(all).next().unwrap();
    let whole = guest.width / (cycles(&json["budget"][0], "cycles") / elapsed);
    let end = row(all).map(|rect| rect.x + rect.width).fold(0.0, f64::max);
    assert!(
        (end - guest.x - whole).abs() <= 3.0 * PIXEL,
        "{end} {whole}"
    );
    // Of a reason: handler, run loop and userspace, each in its colour.
    let io = &json["rows"].as_array().unwrap().iter();
    let io = io
        .clone()
        .find(|row| row["name"] == "IO_INSTRUCTION")
        .unwrap();
    let y = picture.text("IO_INSTRUCTION").y;
    let part = |colour: &str| row(y).find(|rect| rect.fill == colour).unwrap().width;
    check_lengths(&[
        (cycles(io, "handler"), part("#D55E00")),
        (cycles(io, "run_loop"), part("#E69F00")),
        (cycles(io, "userspace"), part(BLUE)),
    ]);
    for phase in ["guest", "exit path", "handler", "run loop", "userspace"] {
        assert!(picture.says(phase), "{phase}");
    }
    assert!(!picture.says("sleeping"), "it did not occur");
}

/// The darker, the more exits.
#[test]
fn heat_maps_darken_with_exits() {
    let picture = Picture::of(&["heatmap", "-i", &path("host-v2.txt")]);
    picture.check_texts();
    let by = Selection {
        by: exitprof::select::By::VcpuReason,
        ..Selection::everything()
    };
    let snapshot = Snapshot::from_text(PROFILE).unwrap();
    let view = View::new(&snapshot, &by).unwrap();
    let mut cells = Vec::new();
    for row in view.rows.iter().filter(|row| row.vcpu.is_some()) {
        let Some(column) = picture.texts.iter().find(|text| *text.text == *row.name) else {
            continue;
        };
        let x = (column.left + column.right) / 2.0;
        let y = picture.text(row.owner.as_ref().unwrap()).y;
        let holds =
            |r: &&Rect| (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y);
        let cell = picture.rects.iter().rfind(holds).unwrap();
        let said = picture
            .texts
            .iter()
            .find(|text| (text.y - y).abs() < 2.0 && (text.left..text.right).contains(&x));
        assert_eq!(said.unwrap().text, units::count(row.exits as f64, 6));
        cells.push((row.exits, light(&cell.fill)));
    }
    assert_eq!(cells.len(), 3 * 7);
    cells.sort_by_key(|(exits, _)| *exits);
    assert!(cells.is_sorted_by(|a, b| a.1 >= b.1), "{cells:?}");
    assert!(cells[0].1 > cells[20].1 + 80.0, "{cells:?}");
}

/// How light a colour is.
fn light(colour: &str) -> f64 {
    let part = |at: usize| u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
    0.299 * f64::from(part(1)) + 0.587 * f64::from(part(3)) + 0.114 * f64::from(part(5))
}

/// The README's picture is what is drawn now: `exitprof plot phases -i FILE -o FILE` draws it anew.
#[test]
fn the_picture_of_the_readme_is_up_to_date() {
    let dir = tempfile::TempDir::new().unwrap();
    let drawn = dir.path().join("phases.svg");
    picture::draw(&["phases", "-i", &path("phases.txt")], &drawn);
    let kept = include_str!("../../../plot/phases.svg");
    assert!(
        std::fs::read_to_string(drawn).unwrap() == kept,
        "draw it anew"
    );
}
