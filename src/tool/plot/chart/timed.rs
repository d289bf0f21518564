// SPDX-License-Identifier: GPL-2.0

//! What charts over time share: their axis, and names at the ends of what they show.

use super::{marks, spread::spread};
use crate::plot::{
    canvas::{Area, Drawn, text},
    style::{INK, SMALL},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;
use std::ops::Range;

/// The height of a name.
const NAME: i32 = 15;

/// The intervals of a chart over time.
#[derive(Clone, Debug)]
pub struct Time {
    /// From when to when each is, in seconds since the start. They are in order.
    pub intervals: Vec<(f64, f64)>,
    /// The seconds that the axis has.
    pub seconds: f64,
}

impl Time {
    /// The end of the axis.
    pub fn end(&self) -> f64 {
        if self.seconds > 0.0 {
            self.seconds
        } else {
            1.0
        }
    }

    /// The intervals that follow each other without a gap.
    pub fn runs(&self) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for index in 0..self.intervals.len() {
            let follows = index > 0 && self.intervals[index - 1].1 >= self.intervals[index].0;
            match runs.last_mut().filter(|_| follows) {
                Some(run) => run.end = index + 1,
                None => runs.push(index..index + 1),
            }
        }
        runs
    }
}

/// The height of an end in its area, its name, and the mark and colour of its line.
type End<'a> = (i32, &'a str, Option<(usize, RGBColor)>);

/// Writes names into the rightmost `room` pixels of `area`, each near its height.
///
/// # Errors
///
/// If that fails.
pub fn name_ends(area: &Area<'_>, room: u32, mut ends: Vec<End<'_>>) -> Drawn {
    let (wide, high) = area.dim_in_pixel();
    ends.sort_by_key(|(y, ..)| *y);
    let begin = |(y, ..): &End<'_>| (y - NAME / 2, NAME);
    let mut places: Vec<(i32, i32)> = ends.iter().map(begin).collect();
    spread(&mut places, 0..high as i32);
    for ((top, _), (_, name, line)) in places.into_iter().zip(ends) {
        let y = top + NAME / 2;
        let mut x = (wide - room) as i32 + 8;
        if let Some((number, colour)) = line {
            marks::draw(area, number, (x + marks::HALF, y), colour)?;
            x += 14;
        }
        area.draw(&Text::new(
            name.to_owned(),
            (x, y),
            text(SMALL, INK, HPos::Left),
        ))?;
    }
    Ok(())
}
