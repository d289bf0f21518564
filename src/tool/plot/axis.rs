// SPDX-License-Identifier: GPL-2.0

//! What axes show: quantities with their units, and times since a start.

use super::{canvas::widest, style::SMALL};
use crate::render::units;
use plotters::coord::{
    ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter},
    types::RangedCoordf64,
};
use std::ops::Range;

/// An axis: what it shows, and its ticks.
pub struct Axis {
    range: RangedCoordf64,
    /// Where ticks are, and what they are called.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis with these ticks.
    pub fn new(range: Range<f64>, ticks: Vec<(f64, String)>) -> Axis {
        Axis {
            range: range.into(),
            ticks,
        }
    }

    /// An axis of a quantity from 0 to `most`, with at least so many steps between ticks.
    pub fn of(quantity: Quantity, most: f64, least: usize) -> Axis {
        let ticks = ticks(most, least).into_iter();
        let named = ticks.map(|number| (number, quantity.tick(number)));
        Axis::new(0.0..most, named.collect())
    }

    /// The width of its widest name.
    pub fn width(&self) -> u32 {
        widest(self.ticks.iter().map(|(_, name)| name), SMALL)
    }

    /// The same with fewer ticks, if there is not room for the names of all beside each other in
    /// so many pixels.
    pub fn fitting(mut self, room: u32) -> Axis {
        const BETWEEN: u32 = 8;
        let Range { start, end } = self.range.range();
        while let [(first, _), (second, _), ..] = self.ticks.as_slice() {
            let between = (second - first).abs() / (end - start).abs() * f64::from(room);
            if between >= f64::from(self.width() + BETWEEN) {
                break;
            }
            let ticks = self.ticks.into_iter().step_by(2);
            self.ticks = ticks.collect();
        }
        self
    }

    /// An axis of rows, the first of which is above.
    pub fn of_rows(rows: usize) -> Axis {
        Axis::new(rows as f64..0.0, Vec::new())
    }

    /// An axis of time, of so many seconds.
    pub fn of_time(seconds: f64) -> Axis {
        const TICKS: usize = 8;
        Axis::new(0.0..seconds, times(seconds, TICKS))
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().map(|(place, _)| *place).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let mut named = self.ticks.iter().filter(|(place, _)| place == value);
        named.next().map_or(String::new(), |(_, name)| name.clone())
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Exits.
    Exits,
    /// Exits per second.
    Rate,
    /// Nanoseconds.
    Time,
    /// Cycles.
    Cycles,
    /// Cycles per second.
    CycleRate,
    /// Percent.
    Percent,
}

impl Quantity {
    /// The number, with its unit, in a few characters.
    pub fn say(self, number: f64) -> String {
        match self {
            Quantity::Exits | Quantity::Cycles | Quantity::CycleRate => units::count(number, 6),
            Quantity::Rate => units::rate(number, 6),
            Quantity::Time => units::time(number),
            Quantity::Percent => units::percent(number / 100.0),
        }
    }

    /// The number at a tick, without zeros at its end.
    pub fn tick(self, number: f64) -> String {
        if number == 0.0 {
            return "0".into();
        }
        match self {
            Quantity::Time => trimmed(&units::time(number)),
            Quantity::Percent => trimmed(&format!("{number:.3}%")),
            _ if number < 1000.0 => trimmed(&format!("{number:.3}")),
            _ => trimmed(&units::count(number, 3)),
        }
    }
}

/// A number without zeros behind its point, or the point.
fn trimmed(text: &str) -> String {
    let end = text
        .rfind(|c: char| c.is_ascii_digit())
        .map_or(0, |end| end + 1);
    let (number, unit) = text.split_at(end);
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number}{unit}")
}

/// Round numbers from 0 to `most`, with at least `least` steps in between.
pub fn ticks(most: f64, least: usize) -> Vec<f64> {
    if !(most > 0.0 && most.is_finite()) {
        return vec![0.0];
    }
    let longest = most / least.max(1) as f64;
    let power = 10_f64.powf(longest.log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|step| step * power);
    // Rounding must not make a step seem too long.
    let step = steps.into_iter().find(|step| *step <= longest * 1.000_001);
    multiples(step.unwrap_or(power), most)
}

/// The multiples of `step` from 0 to `most`.
fn multiples(step: f64, most: f64) -> Vec<f64> {
    let number = (most / step + 1e-6).floor() as usize;
    (0..=number).map(|number| number as f64 * step).collect()
}

/// Round times from 0 to so many seconds, about as many as wanted, and what they are called.
fn times(seconds: f64, wanted: usize) -> Vec<(f64, String)> {
    const STEPS: [f64; 19] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
        10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0,
    ];
    let least = seconds / wanted.max(1) as f64;
    let step = STEPS.into_iter().find(|&step| step >= least);
    let times = match step {
        Some(step) if least > 0.5 => multiples(step, seconds),
        _ => ticks(seconds, wanted / 2),
    };
    times.into_iter().map(|time| (time, since(time))).collect()
}

/// A time since the start: `90s` is `1m30s`.
fn since(seconds: f64) -> String {
    let (days, rest) = (seconds as u64 / 86_400, seconds as u64 % 86_400);
    let parts = [(days, "d"), (rest / 3600, "h"), (rest / 60 % 60, "m")];
    let mut text = String::new();
    for (number, unit) in parts {
        if number > 0 {
            text += &format!("{number}{unit}");
        }
    }
    let less = seconds % 60.0;
    if less > 0.0005 || text.is_empty() {
        text += &trimmed(&format!("{less:.3}s"));
    }
    text
}
