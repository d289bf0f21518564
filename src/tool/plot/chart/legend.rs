// SPDX-License-Identifier: GPL-2.0

//! What colours mean.

use crate::plot::{
    canvas::{Area, Drawn, text, width},
    style::{INK, SMALL},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;

/// The height of a line.
pub const HEIGHT: u32 = 26;
/// The side of a square of colour, and what is between that, its name and the next.
const SIDE: i32 = 12;
const GAP: i32 = 6;

/// The lines that these names take in so many pixels.
pub fn lines<'a>(names: impl Iterator<Item = &'a str>, room: u32) -> u32 {
    let places = places(names, room);
    places.last().map_or(0, |&(_, line)| line + 1)
}

/// Where each name is: from the left, and in which line.
fn places<'a>(names: impl Iterator<Item = &'a str>, room: u32) -> Vec<(i32, u32)> {
    let (mut left, mut line) = (0, 0);
    let place = |name: &str| {
        let wide = SIDE + GAP + width(name, SMALL) as i32;
        if left > 0 && left + wide > room as i32 {
            (left, line) = (0, line + 1);
        }
        let place = (left, line);
        left += wide + 3 * GAP;
        place
    };
    names.map(place).collect()
}

/// Draws the names beside their colours.
///
/// # Errors
///
/// If that fails.
pub fn draw<'a>(
    area: &Area<'_>,
    named: impl Iterator<Item = (&'a str, RGBColor)> + Clone,
) -> Drawn {
    let (room, _) = area.dim_in_pixel();
    let names = named.clone().map(|(name, _)| name);
    for ((name, colour), (left, line)) in named.zip(places(names, room)) {
        let middle = (line * HEIGHT + HEIGHT / 2) as i32;
        let corners = [(left, middle - SIDE / 2), (left + SIDE, middle + SIDE / 2)];
        area.draw(&Rectangle::new(corners, colour.filled()))?;
        let at = (left + SIDE + GAP, middle);
        area.draw(&Text::new(
            name.to_owned(),
            at,
            text(SMALL, INK, HPos::Left),
        ))?;
    }
    Ok(())
}
