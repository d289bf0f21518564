// SPDX-License-Identifier: GPL-2.0

//! Histograms of times, below each other, with one axis of time.

use super::{
    frame::{AXIS, Margins, Plot, TICK, frame, pixel},
    legend,
    spread::spread,
};
use crate::plot::{
    axis::{Axis, Quantity},
    canvas::{Area, Drawn, fit, text, width},
    style::{BLUE, INK, PAPER, SKY, SMALL, TEXT, VERMILION},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;
use std::ops::Range;

/// The height of a histogram's heading, of the names of percentiles, and of a histogram.
const HEAD: u32 = 28;
const MARKS: u32 = 20;
const PLOT: u32 = 190;
/// What is between histograms.
const GAP: u32 = 14;

/// Histograms.
#[derive(Debug)]
pub struct Distributions {
    /// Where the axis begins and ends.
    pub range: Range<f64>,
    /// The places where bars begin or end, and what they are called.
    pub bounds: Vec<(f64, String)>,
    /// The histograms.
    pub panels: Vec<Panel>,
    /// What is counted.
    pub quantity: Quantity,
    /// What the outlines are of, and what the bars are of, if there are both.
    pub sides: Option<[String; 2]>,
}

/// A histogram.
#[derive(Debug)]
pub struct Panel {
    /// Whose it is, and its figures.
    pub heading: String,
    /// The bars, from left to right.
    pub bars: Vec<Bar>,
    /// The outline of another histogram, to compare with.
    pub outline: Option<Vec<Bar>>,
    /// Figures such as percentiles: their places, and what they are called.
    pub marks: Vec<(f64, String)>,
}

/// A bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The place where it begins.
    pub from: f64,
    /// The place where it ends.
    pub to: f64,
    /// Its height.
    pub number: f64,
}

impl Distributions {
    fn legend(&self) -> u32 {
        self.sides.as_ref().map_or(0, |_| legend::HEIGHT)
    }

    fn panel_height(&self) -> u32 {
        let marks = self.panels.iter().any(|panel| !panel.marks.is_empty());
        HEAD + if marks { MARKS } else { 0 } + PLOT + AXIS + GAP
    }

    /// The height.
    pub fn height(&self) -> u32 {
        self.legend() + self.panel_height() * self.panels.len() as u32
    }

    /// Draws them.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let (above, mut rest) = area.split_vertically(self.legend());
        if let Some(sides) = &self.sides {
            let names = sides.iter().map(String::as_str);
            legend::draw(&above, names.zip([INK, SKY]))?;
        }
        for panel in &self.panels {
            let (area, below) = rest.split_vertically(self.panel_height());
            self.panel(panel, &area.margin(0, GAP, 0, 0))?;
            rest = below;
        }
        Ok(())
    }

    /// The axis to the left of a histogram.
    fn up(&self, panel: &Panel) -> (f64, Axis) {
        let all = panel.bars.iter().chain(panel.outline.iter().flatten());
        let most = all.map(|bar| bar.number).fold(0.0, f64::max);
        // Numbers stand above the bars.
        let top = if most > 0.0 { most * 1.15 } else { 1.0 };
        (top, Axis::of(self.quantity, top, 3))
    }

    fn panel(&self, panel: &Panel, area: &Area<'_>) -> Drawn {
        let (head, body) = area.split_vertically(HEAD);
        let style = text(TEXT, INK, HPos::Left);
        let heading = fit(&panel.heading, TEXT, area.dim_in_pixel().0);
        head.draw(&Text::new(heading, (0, HEAD as i32 / 2), style))?;
        let lefts = self.panels.iter().map(|panel| self.up(panel).1.width());
        let margins = Margins {
            top: self.panel_height() - HEAD - PLOT - AXIS - GAP,
            left: lefts.max().unwrap_or(0) + TICK,
            right: 40,
        };
        let (top, up) = self.up(panel);
        let across = Axis::new(self.range.clone(), self.bounds.clone());
        let chart = frame(&body, margins, across, up)?;
        let plot = chart.plotting_area();
        let (wide, high) = plot.dim_in_pixel();
        // What is not nothing can be seen.
        let least = 2.0 * top / f64::from(high.max(1));
        let is_compared = panel.outline.is_some();
        let fill = if is_compared { SKY } else { BLUE };
        for bar in panel.bars.iter().filter(|bar| bar.number > 0.0) {
            let corners = [
                (bar.from + 0.02, 0.0),
                (bar.to - 0.02, bar.number.max(least)),
            ];
            plot.draw(&Rectangle::new(corners, fill.filled()))?;
        }
        if let Some(outline) = &panel.outline {
            plot.draw(&PathElement::new(steps(outline), INK.stroke_width(2)))?;
            return Ok(());
        }
        self.marks(panel, &body, &chart, top)?;
        for bar in panel.bars.iter().filter(|bar| bar.number > 0.0) {
            let said = self.quantity.say(bar.number);
            let said_width = width(&said, SMALL) as i32;
            let room = (bar.to - bar.from) / (self.range.end - self.range.start) * f64::from(wide);
            if f64::from(said_width) < room {
                let at = ((bar.from + bar.to) / 2.0, bar.number.max(least));
                let (x, y) = pixel(&body, &chart, at);
                // Lines of percentiles do not go through it.
                let half = said_width / 2 + 2;
                let behind = [(x - half, y - 17), (x + half, y - 1)];
                body.draw(&Rectangle::new(behind, PAPER.filled()))?;
                let style = text(SMALL, INK, HPos::Center);
                body.draw(&Text::new(said, (x, y - 9), style))?;
            }
        }
        Ok(())
    }

    /// Draws percentiles.
    fn marks(&self, panel: &Panel, area: &Area<'_>, chart: &Plot<'_, '_>, top: f64) -> Drawn {
        const BETWEEN: i32 = 10;
        let lines = panel
            .marks
            .iter()
            .map(|(place, _)| pixel(area, chart, (*place, top)));
        let lines: Vec<(i32, i32)> = lines.collect();
        let name = |(&(x, _), (_, name)): (&(i32, i32), &(f64, String))| {
            let long = width(name, SMALL) as i32 + BETWEEN;
            (x - long / 2, long)
        };
        let mut names: Vec<(i32, i32)> = lines.iter().zip(&panel.marks).map(name).collect();
        spread(&mut names, 0..area.dim_in_pixel().0 as i32 + BETWEEN);
        for (((x, y), (left, _)), (_, name)) in lines.into_iter().zip(names).zip(&panel.marks) {
            let line = vec![(x, y - 2), (x, y + PLOT as i32)];
            area.draw(&PathElement::new(line, VERMILION.stroke_width(1)))?;
            let style = text(SMALL, INK, HPos::Left);
            area.draw(&Text::new(
                name.as_str(),
                (left + BETWEEN / 2, y - 11),
                style,
            ))?;
        }
        Ok(())
    }
}

/// The outline of bars that follow each other.
fn steps(bars: &[Bar]) -> Vec<(f64, f64)> {
    let steps = bars.iter();
    let steps = steps.flat_map(|bar| [(bar.from, bar.number), (bar.to, bar.number)]);
    let ends = [
        bars.first().map(|bar| bar.from),
        bars.last().map(|bar| bar.to),
    ];
    let [first, last] = ends.map(|place| place.map(|place| (place, 0.0)));
    first.into_iter().chain(steps).chain(last).collect()
}
