// SPDX-License-Identifier: GPL-2.0

//! Bars beside names, in panels that share the names.

use super::{
    frame::{AXIS, Margins, frame},
    legend,
};
use crate::plot::{
    axis::{Axis, Quantity},
    canvas::{Area, Drawn, fit, text, widest},
    style::{BEFORE, BLUE, GREY, INK, SMALL, TEXT},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;

/// The widest names.
const NAMES: u32 = 340;
/// What is between panels.
const GAP: u32 = 16;
/// The height of a panel's heading.
const HEAD: u32 = 26;

/// Bars.
#[derive(Debug)]
pub struct Bars {
    /// What each row is called.
    pub names: Vec<String>,
    /// Whether the last row is what is in no other.
    pub has_others: bool,
    /// The figures.
    pub panels: Vec<Panel>,
    /// What each bar of a row is of, if there are several.
    pub sides: Vec<String>,
}

/// A figure of each row.
#[derive(Debug)]
pub struct Panel {
    /// What it is.
    pub heading: String,
    /// What it counts.
    pub quantity: Quantity,
    /// The bars of each row: its length, if that is known, and what is beside it.
    pub rows: Vec<Vec<(Option<f64>, String)>>,
}

impl Bars {
    fn bars(&self) -> u32 {
        self.sides.len().max(1) as u32
    }

    fn row(&self) -> u32 {
        7 + 17 * self.bars()
    }

    fn legend(&self) -> u32 {
        if self.sides.is_empty() {
            0
        } else {
            legend::HEIGHT
        }
    }

    /// The height.
    pub fn height(&self) -> u32 {
        self.legend() + HEAD + AXIS + self.row() * self.names.len() as u32
    }

    /// Draws them.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let area = match self.sides.is_empty() {
            true => area.clone(),
            false => {
                let (above, below) = area.split_vertically(legend::HEIGHT);
                let colours = [BEFORE, BLUE];
                let names = self.sides.iter().map(String::as_str);
                legend::draw(&above, names.zip(colours))?;
                below
            }
        };
        let names: Vec<String> = (self.names.iter())
            .map(|name| fit(name, TEXT, NAMES))
            .collect();
        let room = widest(&names, TEXT) + 8;
        let (left, right) = area.split_horizontally(room);
        for (index, name) in names.iter().enumerate() {
            let middle = HEAD + self.row() * index as u32 + self.row() / 2;
            let at = (room as i32 - 8, middle as i32);
            left.draw(&Text::new(name.as_str(), at, text(TEXT, INK, HPos::Right)))?;
        }
        for (panel, area) in self
            .panels
            .iter()
            .zip(right.split_evenly((1, self.panels.len())))
        {
            self.panel(panel, &area)?;
        }
        Ok(())
    }

    fn panel(&self, panel: &Panel, area: &Area<'_>) -> Drawn {
        let (head, body) = area.split_vertically(HEAD);
        head.draw(&Text::new(
            panel.heading.as_str(),
            (0, HEAD as i32 / 2),
            text(TEXT, INK, HPos::Left),
        ))?;
        let labels = panel.rows.iter().flatten().map(|(_, label)| label);
        let beside = widest(labels, SMALL) + 8;
        let lengths = panel
            .rows
            .iter()
            .flatten()
            .filter_map(|(length, _)| *length);
        let most = lengths.fold(0.0, f64::max);
        let top = if most > 0.0 { most } else { 1.0 };
        let across = Axis::of(panel.quantity, top, 3);
        let margins = Margins {
            right: beside + GAP,
            ..Margins::default()
        };
        let chart = frame(&body, margins, across, Axis::of_rows(self.names.len()))?;
        let plot = chart.plotting_area();
        let pixel = top / f64::from(plot.dim_in_pixel().0.max(1));
        let bars = f64::from(self.bars());
        for (row, sides) in panel.rows.iter().enumerate() {
            let is_others = self.has_others && row + 1 == panel.rows.len();
            for (side, (length, label)) in sides.iter().enumerate() {
                let height = 0.8 / bars;
                let from = row as f64 + 0.1 + side as f64 * height;
                let colour = match (is_others, sides.len(), side) {
                    (_, 2, 0) => BEFORE,
                    (true, ..) => GREY,
                    _ => BLUE,
                };
                // What is not nothing can be seen.
                let end = length.filter(|&n| n > 0.0).map(|n| n.max(2.0 * pixel));
                let end = end.unwrap_or(0.0);
                if end > 0.0 {
                    let corners = [(0.0, from), (end, from + height - 0.04)];
                    plot.draw(&Rectangle::new(corners, colour.filled()))?;
                }
                let at = (end, from + height / 2.0);
                let style = text(SMALL, INK, HPos::Left);
                plot.draw(&(EmptyElement::at(at) + Text::new(label.clone(), (5, 0), style)))?;
            }
        }
        Ok(())
    }
}
