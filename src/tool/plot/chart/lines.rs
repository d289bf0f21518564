// SPDX-License-Identifier: GPL-2.0

//! Figures over time.

use super::{
    frame::{Margins, frame, pixel},
    marks,
    timed::{Time, name_ends},
};
use crate::plot::{
    axis::{Axis, Quantity},
    canvas::{Area, Drawn, fit, text, widest},
    style::{INK, SMALL, TEXT},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;

/// The height of the heading, and of the rest.
const HEAD: u32 = 26;
const PLOT: u32 = 420;
/// The widest names.
const NAMES: u32 = 230;

/// Lines.
#[derive(Debug)]
pub struct Lines {
    /// What the figure is.
    pub heading: String,
    /// Its unit.
    pub quantity: Quantity,
    /// The intervals.
    pub time: Time,
    /// The lines: their names and colours, and the figure in each interval.
    pub lines: Vec<(String, RGBColor, Vec<f64>)>,
}

impl Lines {
    /// The height.
    pub fn height(&self) -> u32 {
        HEAD + PLOT
    }

    /// Draws them.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let (head, body) = area.split_vertically(HEAD);
        let style = text(TEXT, INK, HPos::Left);
        head.draw(&Text::new(
            self.heading.as_str(),
            (0, HEAD as i32 / 2),
            style,
        ))?;
        let figures = self.lines.iter().flat_map(|(.., figures)| figures);
        let most = figures.copied().fold(0.0, f64::max);
        let top = if most > 0.0 { most * 1.04 } else { 1.0 };
        let names: Vec<String> = (self.lines.iter())
            .map(|(name, ..)| fit(name, SMALL, NAMES))
            .collect();
        let right = widest(&names, SMALL) + 26;
        let time = &self.time;
        let margins = Margins {
            top: 8,
            right,
            ..Margins::default()
        };
        let (across, up) = (Axis::of_time(time.end()), Axis::of(self.quantity, top, 4));
        let chart = frame(&body, margins, across, up)?;
        let plot = chart.plotting_area();
        // The first lines are those that matter most: they are drawn last, on the others.
        for (number, (_, colour, figures)) in self.lines.iter().enumerate().rev() {
            for run in time.runs() {
                let steps = run.clone().flat_map(|interval| {
                    let (from, to) = time.intervals[interval];
                    [(from, figures[interval]), (to, figures[interval])]
                });
                let steps: Vec<(f64, f64)> = steps.collect();
                plot.draw(&PathElement::new(steps, colour.stroke_width(2)))?;
            }
            // Marks tell lines apart for those who cannot see colours: some, each line's at
            // other places.
            let every = time.intervals.len().div_ceil(12).max(1);
            let marked = (0..time.intervals.len()).skip(number * every / self.lines.len());
            for interval in marked.step_by(every) {
                let (from, to) = time.intervals[interval];
                let at = ((from + to) / 2.0, figures[interval]);
                marks::draw(&body, number, pixel(&body, &chart, at), *colour)?;
            }
        }
        let named = self.lines.iter().zip(&names).enumerate();
        let ends = named.filter_map(|(number, ((_, colour, figures), name))| {
            let (_, y) = pixel(&body, &chart, (0.0, *figures.last()?));
            Some((y, name.as_str(), Some((number, *colour))))
        });
        name_ends(&body, right, ends.collect())
    }
}
