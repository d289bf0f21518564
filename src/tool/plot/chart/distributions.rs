// SPDX-License-Identifier: GPL-2.0

//! Histograms of times, below each other, with one axis of time.

use super::{
    frame::{AXIS, Margins, frame, pixel},
    legend,
};
use crate::plot::{
    axis::{Axis, Quantity},
    canvas::{Area, Drawn, text, widest, width},
    style::{BLUE, INK, SKY, SMALL, TEXT, VERMILION},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;

/// The height of a histogram's heading, of the names of percentiles, and of a histogram.
const HEAD: u32 = 28;
const MARKS: u32 = 20;
const PLOT: u32 = 190;
/// What is between histograms.
const GAP: u32 = 14;

/// Histograms.
#[derive(Debug)]
pub struct Distributions {
    /// The places of the axis where bars begin or end, and what they are called. The first one
    /// begins the axis, and the last one ends it.
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

    fn panel(&self, panel: &Panel, area: &Area<'_>) -> Drawn {
        let (head, body) = area.split_vertically(HEAD);
        let style = text(TEXT, INK, HPos::Left);
        head.draw(&Text::new(
            panel.heading.as_str(),
            (0, HEAD as i32 / 2),
            style,
        ))?;
        let above = self.panel_height() - HEAD - PLOT - AXIS - GAP;
        let all = panel.bars.iter().chain(panel.outline.iter().flatten());
        let most = all.map(|bar| bar.number).fold(0.0, f64::max);
        // Numbers stand above the bars.
        let top = if most > 0.0 { most * 1.1 } else { 1.0 };
        let [start, end] = [self.bounds.first(), self.bounds.last()]
            .map(|bound| bound.map_or(0.0, |(place, _)| *place));
        let named = self.named(body.dim_in_pixel().0);
        let margins = Margins {
            top: above,
            right: 40,
            ..Margins::default()
        };
        let up = Axis::of(self.quantity, top, 4);
        let chart = frame(&body, margins, Axis::new(start..end, named), up)?;
        let plot = chart.plotting_area();
        let (wide, high) = plot.dim_in_pixel();
        let least = top / f64::from(high.max(1));
        let is_compared = panel.outline.is_some();
        let fill = if is_compared { SKY } else { BLUE };
        for bar in panel.bars.iter().filter(|bar| bar.number > 0.0) {
            // What is not nothing can be seen.
            let height = bar.number.max(least);
            let corners = [(bar.from + 0.02, 0.0), (bar.to - 0.02, height)];
            plot.draw(&Rectangle::new(corners, fill.filled()))?;
            let said = self.quantity.say(bar.number);
            let room = (bar.to - bar.from) / (end - start) * f64::from(wide);
            if !is_compared && f64::from(width(&said, SMALL)) < room {
                let place = EmptyElement::at(((bar.from + bar.to) / 2.0, height));
                let style = text(SMALL, INK, HPos::Center);
                plot.draw(&(place + Text::new(said, (0, -9), style)))?;
            }
        }
        if let Some(outline) = &panel.outline {
            let steps = outline.iter();
            let steps = steps.flat_map(|bar| [(bar.from, bar.number), (bar.to, bar.number)]);
            let ends = [
                outline.first().map(|bar| bar.from),
                outline.last().map(|bar| bar.to),
            ];
            let [first, last] = ends.map(|place| place.map(|place| (place, 0.0)));
            let path = first.into_iter().chain(steps).chain(last);
            plot.draw(&PathElement::new(
                path.collect::<Vec<_>>(),
                INK.stroke_width(2),
            ))?;
        }
        // Names of marks that are too close stand beside each other.
        let mut free = i32::MIN;
        for (place, name) in &panel.marks {
            let (x, y) = pixel(&body, &chart, (*place, top));
            body.draw(&PathElement::new(
                vec![(x, y - 2), (x, y + PLOT as i32)],
                VERMILION.stroke_width(1),
            ))?;
            let wide = width(name, SMALL) as i32;
            let left = (x - wide / 2).max(free);
            body.draw(&Text::new(
                name.as_str(),
                (left, y - 11),
                text(SMALL, INK, HPos::Left),
            ))?;
            free = left + wide + 10;
        }
        Ok(())
    }

    /// Those bounds that there is room to name.
    fn named(&self, room: u32) -> Vec<(f64, String)> {
        let wide = widest(self.bounds.iter().map(|(_, name)| name), SMALL) + 12;
        let most = (room.saturating_sub(100) / wide).max(1) as usize;
        let step = self.bounds.len().div_ceil(most).max(1);
        self.bounds.iter().step_by(step).cloned().collect()
    }
}
