// SPDX-License-Identifier: GPL-2.0

//! Formats numbers in few characters.

use crate::snapshot::{Origin, Snapshot};
use jiff::{Timestamp, tz::TimeZone};

/// The width of labels below tables.
pub const LABEL: usize = 16;

/// The unit in which to show cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Cycles.
    Cycles,
    /// Time, by a TSC of so many kHz, which are not 0.
    Time(u32),
}

impl Unit {
    /// That of a snapshot's times: time, unless the frequency of the TSC is unknown, or `cycles`
    /// asks for cycles and the times are of a TSC.
    pub fn of(snapshot: &Snapshot, cycles: bool) -> Unit {
        match snapshot.tsc_khz {
            0 => Unit::Cycles,
            _ if cycles && snapshot.origin != Origin::Bpf => Unit::Cycles,
            khz => Unit::Time(khz),
        }
    }

    /// Formats `cycles` with their unit.
    pub fn say(self, cycles: f64) -> String {
        match self {
            Unit::Cycles => format!("{} cycles", self.show(cycles)),
            Unit::Time(_) => self.show(cycles),
        }
    }

    /// Formats `cycles` in at most six characters.
    pub fn show(self, cycles: f64) -> String {
        match self {
            Unit::Cycles => count(cycles, 6),
            Unit::Time(khz) => time(cycles / f64::from(khz) * 1e6),
        }
    }
}

/// Nanoseconds in at most six characters: three digits and a unit.
pub fn time(ns: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    for (unit, size) in UNITS {
        let value = ns / size;
        // A value that rounds to 1000 belongs to the next unit.
        if value < 999.5 {
            return match unit {
                "ns" => format!("{value:.0}ns"),
                _ => format!("{}{unit}", three_digits(value)),
            };
        }
    }
    count(ns / 1e9, 5) + "s"
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// A whole number in at most `width` characters, at least five. Longer numbers are in
/// thousands, millions and so on.
pub fn count(number: f64, width: usize) -> String {
    let whole = format!("{number:.0}");
    if whole.len() <= width {
        return whole;
    }
    let mut value = number;
    for unit in ["k", "M", "G", "T", "P", "E"] {
        value /= 1000.0;
        if value < 999.5 {
            return three_digits(value) + unit;
        }
    }
    format!("{number:.0e}")
}

/// A share in at most six characters.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p < 99.995 => format!("{p:.2}%"),
        p => format!("{p:.0}%"),
    }
}

/// A change in percent, in at most seven characters.
pub fn change(percent: f64) -> String {
    match percent {
        p if p.is_infinite() => "new".into(),
        p if p.abs() < 0.05 => "+0.0%".into(),
        p if p.abs() < 99.95 => format!("{p:+.1}%"),
        p if p.abs() < 99_999.5 => format!("{p:+.0}%"),
        p => format!("+{}%", count(p, 5)),
    }
}

/// A number of seconds. Many are in hours or days, too.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.95 => format!("{} s", three_digits(s)),
        s if s < 7200.0 => format!("{s:.0} s"),
        s if s < 172_800.0 => format!("{s:.0} s ({:.1} hours)", s / 3600.0),
        s => format!("{s:.0} s ({:.1} days)", s / 86_400.0),
    }
}

/// A mean and its standard deviation, and the share of that.
pub fn deviating(mean: String, deviation: String, share: Option<f64>) -> String {
    match share {
        Some(share) => format!("{mean} +- {deviation} ({})", percent(share)),
        None => mean,
    }
}

/// A time of day, in this machine's time zone.
pub fn time_of_day(time: Timestamp) -> String {
    let local = time.to_zoned(TimeZone::system());
    local.strftime("%H:%M:%S").to_string()
}

/// A date and time of day, in this machine's time zone.
pub fn when(time: Timestamp) -> String {
    let local = time.to_zoned(TimeZone::system());
    local.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A number with its digits in groups of three.
pub fn grouped(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, with their name.
pub fn counted(number: impl Into<u128>, one: &str, many: &str) -> String {
    let number = number.into();
    let name = if number == 1 { one } else { many };
    format!("{} {name}", grouped(number))
}

/// A size in bytes, in at most seven characters.
pub fn bytes(number: u64) -> String {
    count(number as f64, 5) + "B"
}

/// A rate or mean in at most `width` characters.
pub fn rate(rate: f64, width: usize) -> String {
    match rate {
        r if r < 99.95 => format!("{r:.1}"),
        r => count(r, width),
    }
}
