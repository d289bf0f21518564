// SPDX-License-Identifier: GPL-2.0

//! Times in a series.

use super::{at, open, series};
use exitprof::recording::{
    Moment,
    when::{When, find_both},
};
use jiff::tz::TimeZone;

/// Snapshots each 10 s, from 2026-11-26 10:01:40 on, an hour east of Greenwich.
fn moments() -> (Vec<Moment>, TimeZone) {
    let recording = open(series(at(&[0, 10, 20, 30]))).unwrap();
    let zone = TimeZone::fixed(jiff::tz::offset(1));
    (recording.moments().to_vec(), zone)
}

#[test]
fn the_nearest_snapshot_is_found() {
    let (moments, zone) = moments();
    for (text, index) in [
        ("start", 0),
        ("0", 0),
        ("10", 1),
        ("10s", 1),
        ("14.9", 1),
        ("15.1s", 2),
        ("0.5m", 3),
        ("1 minute", usize::MAX),
        // Not a whole interval later than the last one.
        ("39s", 3),
        ("41s", usize::MAX),
        ("end", 3),
        ("-0", 3),
        ("-10", 2),
        ("-20s", 1),
        ("-30s", 0),
        ("-41s", usize::MAX),
        ("10:02", 2),
        ("10:01:51", 1),
        ("09:02", usize::MAX),
        ("2026-11-26 10:02:10", 3),
        ("2026-11-26T10:02:10", 3),
        ("2026-11-26T09:02:10Z", 3),
        ("2026-11-26T11:02:00+02:00", 2),
        ("2026-11-25 10:02", usize::MAX),
    ] {
        let when: When = text.parse().unwrap();
        let found = when.find(&moments, &zone);
        assert_eq!(
            found.as_ref().ok().copied(),
            Some(index).filter(|&i| i < 9),
            "{text}"
        );
        if let Err(e) = found {
            let said = "the recording is of another time: it is from 2026-11-26 10:01:40 \
                        (0.000 s) to 2026-11-26 10:02:10 (30.000 s)";
            assert_eq!(e.to_string(), said, "{text}");
        }
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "", "-", "now", "--5", "1e400", "10x", "25:00", "-14:03", "1d", "nan",
    ] {
        let said = text.parse::<When>().unwrap_err();
        assert!(
            said.starts_with("not a time, such as 90s"),
            "{text}: {said}"
        );
    }
}

/// A time of day is that of the first day that has it.
#[test]
fn a_time_of_day_is_found_after_midnight() {
    let hours: Vec<u64> = (0..60).map(|hour| hour * 3600).collect();
    let recording = open(series(at(&hours))).unwrap();
    let find = |text: &str| {
        let when: When = text.parse().unwrap();
        when.find(recording.moments(), &TimeZone::UTC).unwrap()
    };
    assert_eq!(find("09:00"), 0);
    assert_eq!(find("23:02"), 14);
    assert_eq!(find("03:02"), 18);
    assert_eq!(find("2026-11-28 03:02"), 42);
}

#[test]
fn times_without_clocks_are_offsets_only() {
    let (mut moments, zone) = moments();
    moments[2].clock = None;
    let find = |text: &str| text.parse::<When>().unwrap().find(&moments, &zone);
    assert_eq!(find("20s").unwrap(), 2);
    assert!(
        find("10:02")
            .unwrap_err()
            .to_string()
            .contains("does not say the time of day")
    );
}

#[test]
fn two_times_are_those_of_two_snapshots() {
    let (moments, zone) = moments();
    let find = |a: &str, b: &str| {
        let times = [a, b].map(|text| text.parse().unwrap());
        find_both(times, &moments, &zone).map_err(|e| e.to_string())
    };
    assert_eq!(find("start", "end"), Ok([0, 3]));
    assert_eq!(find("10", "-10"), Ok([1, 2]));
    assert_eq!(
        find("20", "10").unwrap_err(),
        "the second time is before the first"
    );
    let said = find("9", "11").unwrap_err();
    assert!(said.contains("only one at 10.000 s"), "{said}");
}
