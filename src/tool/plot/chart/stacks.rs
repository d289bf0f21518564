// SPDX-License-Identifier: GPL-2.0

//! Bars that are divided into parts: beside names, or over time.

use super::{
    frame::{AXIS, Margins, frame, pixel},
    legend,
    timed::{Time, name_ends},
};
use crate::plot::{
    axis::{Axis, Quantity},
    canvas::{Area, Drawn, fit, text, widest, width},
    style::{INK, MARGIN, PAPER, SMALL, TEXT, WIDTH, ink_on},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;

/// The widest names.
const NAMES: u32 = 260;
/// The height of a row, and of a chart over time.
const ROW: u32 = 26;
const PLOT: u32 = 340;
/// What is between groups.
const GAP: u32 = 10;

/// Bars of parts.
#[derive(Debug)]
pub struct Stacks {
    /// The parts: their names and colours. The first one is at the bottom or left.
    pub parts: Vec<(String, RGBColor)>,
    /// The unit of the parts.
    pub quantity: Quantity,
    /// The bars.
    pub bars: Bars,
}

/// Whose bars they are.
#[derive(Debug)]
pub enum Bars {
    /// Of names: groups below each other, each with an axis of its own.
    Named(Vec<Vec<Row>>),
    /// Of intervals. Those of which nothing is known have no parts. The parts of others make up
    /// all of the time.
    Timed(Time, Vec<Vec<f64>>),
}

/// A bar with a name.
#[derive(Debug)]
pub struct Row {
    /// The name.
    pub name: String,
    /// The parts.
    pub parts: Vec<f64>,
    /// What is beside it.
    pub label: String,
}

impl Stacks {
    fn legend(&self) -> u32 {
        let names = self.parts.iter().map(|(name, _)| name.as_str());
        let room = WIDTH - 2 * MARGIN;
        legend::lines(names, room) * legend::HEIGHT + 6
    }

    /// The height.
    pub fn height(&self) -> u32 {
        self.legend()
            + match &self.bars {
                Bars::Named(groups) => groups.iter().map(|group| group_height(group)).sum(),
                Bars::Timed(..) => PLOT,
            }
    }

    /// Draws them.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let (above, below) = area.split_vertically(self.legend());
        legend::draw(
            &above,
            self.parts
                .iter()
                .map(|(name, colour)| (name.as_str(), *colour)),
        )?;
        match &self.bars {
            Bars::Named(groups) => self.named(groups, &below),
            Bars::Timed(time, bars) => self.timed(time, bars, &below),
        }
    }

    fn named(&self, groups: &[Vec<Row>], area: &Area<'_>) -> Drawn {
        let rows = || groups.iter().flatten();
        let names: Vec<String> = rows().map(|row| fit(&row.name, TEXT, NAMES)).collect();
        let left = widest(&names, TEXT) + 10;
        let right = widest(rows().map(|row| &row.label), SMALL) + 10;
        let mut names = names.into_iter();
        let mut rest = area.clone();
        for group in groups {
            let (area, below) = rest.split_vertically(group_height(group));
            rest = below;
            let sums = group.iter().map(|row| row.parts.iter().sum());
            let most = sums.fold(0.0, f64::max);
            let top = if most > 0.0 { most } else { 1.0 };
            let margins = Margins {
                left,
                right,
                ..Margins::default()
            };
            let across = Axis::of(self.quantity, top, 4);
            let area = area.margin(0, GAP, 0, 0);
            let chart = frame(&area, margins, across, Axis::of_rows(group.len()))?;
            let plot = chart.plotting_area();
            let pixels = f64::from(plot.dim_in_pixel().0) / top;
            for (index, row) in group.iter().enumerate() {
                let middle = (ROW * index as u32 + ROW / 2) as i32;
                let name = names.next().unwrap_or_default();
                let style = text(TEXT, INK, HPos::Right);
                area.draw(&Text::new(name, (left as i32 - 8, middle), style))?;
                let mut from = 0.0;
                for (part, (name, colour)) in row.parts.iter().zip(&self.parts) {
                    let to = from + part;
                    let corners = [(from, index as f64 + 0.12), (to, index as f64 + 0.88)];
                    let is_wide = part * pixels >= 1.0;
                    if is_wide {
                        plot.draw(&Rectangle::new(corners, colour.filled()))?;
                        let edge = vec![(to, corners[0].1), (to, corners[1].1)];
                        plot.draw(&PathElement::new(edge, PAPER.stroke_width(1)))?;
                    }
                    if f64::from(width(name, SMALL) + 6) < part * pixels {
                        let at = EmptyElement::at((from + part / 2.0, index as f64 + 0.5));
                        let style = text(SMALL, ink_on(*colour), HPos::Center);
                        plot.draw(&(at + Text::new(name.clone(), (0, 0), style)))?;
                    }
                    from = to;
                }
                let at = EmptyElement::at((from, index as f64 + 0.5));
                let style = text(SMALL, INK, HPos::Left);
                plot.draw(&(at + Text::new(row.label.clone(), (6, 0), style)))?;
            }
        }
        Ok(())
    }

    fn timed(&self, time: &Time, bars: &[Vec<f64>], area: &Area<'_>) -> Drawn {
        let right = widest(self.parts.iter().map(|(name, _)| name), SMALL) + 12;
        let margins = Margins {
            top: 8,
            right,
            ..Margins::default()
        };
        let (across, up) = (Axis::of_time(time.end()), Axis::of(self.quantity, 100.0, 4));
        let chart = frame(area, margins, across, up)?;
        let plot = chart.plotting_area();
        for ((from, to), parts) in time.intervals.iter().zip(bars) {
            let mut below = 0.0;
            for (part, (_, colour)) in parts.iter().zip(&self.parts) {
                let corners = [(*from, below), (*to, below + part)];
                if *part > 0.0 {
                    plot.draw(&Rectangle::new(corners, colour.filled()))?;
                }
                below += part;
            }
        }
        // The borders of parts, as far as the intervals follow each other.
        for index in 1..self.parts.len() {
            for run in time.runs() {
                let height = |bar: usize| bars[bar].iter().take(index).sum::<f64>();
                let steps = run.filter(|&bar| !bars[bar].is_empty()).flat_map(|bar| {
                    let (from, to) = time.intervals[bar];
                    [(from, height(bar)), (to, height(bar))]
                });
                plot.draw(&PathElement::new(
                    steps.collect::<Vec<_>>(),
                    PAPER.stroke_width(1),
                ))?;
            }
        }
        let Some(last) = bars.last() else {
            return Ok(());
        };
        let mut below = 0.0;
        let mut ends = Vec::new();
        for (part, (name, _)) in last.iter().zip(&self.parts) {
            if *part > 0.0 {
                let (_, y) = pixel(area, &chart, (0.0, below + part / 2.0));
                ends.push((y, name.as_str(), None));
            }
            below += part;
        }
        name_ends(area, right, ends)
    }
}

fn group_height(group: &[Row]) -> u32 {
    ROW * group.len() as u32 + AXIS + GAP
}
