// SPDX-License-Identifier: GPL-2.0

//! Marks on lines, which tell them apart without colours.

use crate::plot::{
    canvas::{Area, Drawn},
    style::PAPER,
};
use plotters::prelude::*;

/// Half of the size of a mark.
pub const HALF: i32 = 4;

/// Draws the mark of the line with this number.
///
/// # Errors
///
/// If that fails.
pub fn draw(area: &Area<'_>, number: usize, (x, y): (i32, i32), colour: RGBColor) -> Drawn {
    let square = [(x - HALF, y - HALF), (x + HALF, y + HALF)];
    let line = |from, to| area.draw(&PathElement::new(vec![from, to], colour.stroke_width(2)));
    let polygon = |corners: &[(i32, i32)]| area.draw(&Polygon::new(corners, colour.filled()));
    match number % 7 {
        0 => area.draw(&Circle::new((x, y), HALF, colour.filled())),
        1 => area.draw(&Rectangle::new(square, colour.filled())),
        2 => polygon(&[(x - 5, y + 4), (x, y - 5), (x + 5, y + 4)]),
        3 => {
            area.draw(&Circle::new((x, y), HALF, PAPER.filled()))?;
            area.draw(&Circle::new((x, y), HALF, colour.stroke_width(2)))
        }
        4 => polygon(&[(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)]),
        5 => {
            line((x - HALF, y - HALF), (x + HALF, y + HALF))?;
            line((x - HALF, y + HALF), (x + HALF, y - HALF))
        }
        _ => {
            area.draw(&Rectangle::new(square, PAPER.filled()))?;
            area.draw(&Rectangle::new(square, colour.stroke_width(2)))
        }
    }
}
