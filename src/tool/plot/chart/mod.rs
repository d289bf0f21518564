// SPDX-License-Identifier: GPL-2.0

//! The kinds of charts: each knows its figures, its height, and how to draw them.

pub mod bars;
pub mod distributions;
mod frame;
pub mod grid;
mod legend;
pub mod lines;
mod marks;
mod spread;
pub mod stacks;
pub mod timed;

use super::canvas::{Area, Drawn};

/// A chart.
#[derive(Debug)]
pub enum Chart {
    /// Bars beside names.
    Bars(bars::Bars),
    /// Histograms.
    Distributions(distributions::Distributions),
    /// Lines over time.
    Lines(lines::Lines),
    /// Bars of parts, beside names or over time.
    Stacks(stacks::Stacks),
    /// A heat map.
    Grid(grid::Grid),
}

impl Chart {
    /// The height in pixels.
    pub fn height(&self) -> u32 {
        match self {
            Chart::Bars(chart) => chart.height(),
            Chart::Distributions(chart) => chart.height(),
            Chart::Lines(chart) => chart.height(),
            Chart::Stacks(chart) => chart.height(),
            Chart::Grid(chart) => chart.height(),
        }
    }

    /// Draws it.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        match self {
            Chart::Bars(chart) => chart.draw(area),
            Chart::Distributions(chart) => chart.draw(area),
            Chart::Lines(chart) => chart.draw(area),
            Chart::Stacks(chart) => chart.draw(area),
            Chart::Grid(chart) => chart.draw(area),
        }
    }
}
