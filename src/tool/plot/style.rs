// SPDX-License-Identifier: GPL-2.0

//! How pictures look: sizes in pixels, and colours.
//!
//! The background is opaque, so that a picture is the same on paper, and on light and dark
//! pages. The colours are those of Okabe and Ito, which people with any kind of colour vision
//! can tell apart; nothing is told by colour alone.

use plotters::style::RGBColor;

/// The width of a picture.
pub const WIDTH: u32 = 960;
/// What is left free at each edge.
pub const MARGIN: u32 = 20;

/// The size of the title.
pub const TITLE: u32 = 23;
/// The size of most text.
pub const TEXT: u32 = 16;
/// The size of text at axes and on marks.
pub const SMALL: u32 = 14;

/// The background.
pub const PAPER: RGBColor = RGBColor(255, 255, 255);
/// Text, and outlines.
pub const INK: RGBColor = RGBColor(0, 0, 0);
/// Text that matters less, and axes.
pub const FAINT: RGBColor = RGBColor(89, 89, 89);
/// Lines from ticks.
pub const GRID: RGBColor = RGBColor(225, 225, 225);
/// What has no colour of its own, as others.
pub const GREY: RGBColor = RGBColor(153, 153, 153);
/// What there was before.
pub const BEFORE: RGBColor = RGBColor(191, 191, 191);

/// Orange.
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
/// Sky blue.
pub const SKY: RGBColor = RGBColor(86, 180, 233);
/// Bluish green.
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// Yellow.
pub const YELLOW: RGBColor = RGBColor(240, 228, 66);
/// Blue.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// Vermilion.
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// Reddish purple.
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);

/// The colours of lines, the most frequent first. Yellow is too light for a line.
pub const LINES: [RGBColor; 7] = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK];

/// The colour of text on `colour`.
pub fn ink_on(colour: RGBColor) -> RGBColor {
    let RGBColor(red, green, blue) = colour;
    let light = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if light < 128.0 { PAPER } else { INK }
}

/// The colour of a share of the greatest value, from light to dark: the lightness alone tells
/// the value, also on paper.
pub fn heat(share: f64) -> RGBColor {
    // The palette YlGnBu of ColorBrewer.
    const STEPS: [RGBColor; 9] = [
        RGBColor(255, 255, 217),
        RGBColor(237, 248, 177),
        RGBColor(199, 233, 180),
        RGBColor(127, 205, 187),
        RGBColor(65, 182, 196),
        RGBColor(29, 145, 192),
        RGBColor(34, 94, 168),
        RGBColor(37, 52, 148),
        RGBColor(8, 29, 88),
    ];
    let place = share.clamp(0.0, 1.0) * (STEPS.len() - 1) as f64;
    let step = (place as usize).min(STEPS.len() - 2);
    let [from, to] = [STEPS[step], STEPS[step + 1]];
    let part = place - step as f64;
    let mix = |from: u8, to: u8| {
        let mixed = f64::from(from) + (f64::from(to) - f64::from(from)) * part;
        mixed.round() as u8
    };
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}
