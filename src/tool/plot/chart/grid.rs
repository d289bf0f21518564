// SPDX-License-Identifier: GPL-2.0

//! Heat maps: cells whose darkness tells their number.

use super::{
    frame::{AXIS, Margins, frame},
    timed::Time,
};
use crate::plot::{
    axis::{Axis, Quantity, ticks},
    canvas::{Area, Drawn, fit, text, widest},
    style::{FAINT, GRID, INK, PAPER, SMALL, TEXT, heat, ink_on},
};
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;

/// The widest names.
const NAMES: u32 = 260;
/// The height of the scale, and of the names of columns.
const SCALE: u32 = 50;
const HEADS: u32 = 44;
/// The height of all rows if there are many, and of one at least and at most.
const PLOT: u32 = 420;
const ROW: (u32, u32) = (4, 28);
/// The steps of the colours of the scale.
const STEPS: i32 = 64;

/// A heat map.
#[derive(Debug)]
pub struct Grid {
    /// What the numbers are.
    pub heading: String,
    /// Their unit.
    pub quantity: Quantity,
    /// The names of rows.
    pub rows: Vec<String>,
    /// The columns.
    pub columns: Columns,
    /// The numbers of each row, as far as they are known.
    pub cells: Vec<Vec<Option<f64>>>,
}

/// The columns of a heat map.
#[derive(Debug)]
pub enum Columns {
    /// Intervals.
    Timed(Time),
    /// Things with names. Their numbers differ by magnitudes, and are in the cells.
    Named(Vec<String>),
}

/// What colours numbers have.
struct Scale {
    most: f64,
    /// The least number that is told from nothing, if magnitudes have the same distance.
    least: Option<f64>,
}

impl Scale {
    fn share(&self, number: f64) -> f64 {
        match self.least {
            None => number / self.most,
            Some(_) if number <= 0.0 => 0.0,
            Some(least) => (number / least).ln() / (self.most / least).ln(),
        }
    }

    fn colour(&self, number: f64) -> RGBColor {
        let share = self.share(number).clamp(0.0, 1.0) * f64::from(STEPS);
        heat(share.round() / f64::from(STEPS))
    }

    fn ticks(&self) -> Vec<f64> {
        let Some(least) = self.least else {
            return ticks(self.most, 4);
        };
        let powers = (-15..30).map(|power| 10_f64.powi(power));
        powers
            .filter(|power| (least..=self.most).contains(power))
            .collect()
    }
}

impl Grid {
    fn row(&self) -> u32 {
        let (least, most) = ROW;
        (PLOT / self.rows.len().max(1) as u32).clamp(least, most)
    }

    fn scale(&self) -> Scale {
        let most = self
            .cells
            .iter()
            .flatten()
            .flatten()
            .copied()
            .fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        Scale {
            most,
            least: match self.columns {
                Columns::Timed(_) => None,
                Columns::Named(_) => Some(most / 1e4),
            },
        }
    }

    /// The height.
    pub fn height(&self) -> u32 {
        let rows = self.row() * self.rows.len() as u32;
        match self.columns {
            Columns::Timed(_) => SCALE + rows + AXIS,
            Columns::Named(_) => SCALE + HEADS + rows,
        }
    }

    /// Draws it.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn draw(&self, area: &Area<'_>) -> Drawn {
        let (above, below) = area.split_vertically(SCALE);
        let scale = self.scale();
        self.draw_scale(&scale, &above)?;
        let names: Vec<String> = (self.rows.iter())
            .map(|name| fit(name, TEXT, NAMES))
            .collect();
        let left = widest(&names, TEXT) + 10;
        let top = match self.columns {
            Columns::Timed(_) => 0,
            Columns::Named(_) => HEADS,
        };
        let row = self.row();
        // Where there is not room for all names, there are some.
        let every = 18_u32.div_ceil(row) as usize;
        for (index, name) in names.into_iter().enumerate().step_by(every) {
            let middle = top + row * index as u32 + row / 2;
            let at = (left as i32 - 8, middle as i32);
            below.draw(&Text::new(name, at, text(TEXT, INK, HPos::Right)))?;
        }
        match &self.columns {
            Columns::Timed(time) => self.draw_timed(time, &scale, left, &below),
            Columns::Named(names) => {
                let area = below.margin(0, 0, left, 0);
                self.draw_named(names, &scale, &area)
            }
        }
    }

    /// Draws what the colours mean.
    fn draw_scale(&self, scale: &Scale, area: &Area<'_>) -> Drawn {
        let style = text(TEXT, INK, HPos::Left);
        area.draw(&Text::new(self.heading.as_str(), (0, 11), style))?;
        let (wide, _) = area.dim_in_pixel();
        let (width, left) = (6 * STEPS, wide as i32 - 6 * STEPS - 30);
        for step in 0..STEPS {
            let corners = [(left + step * 6, 4), (left + step * 6 + 6, 18)];
            let colour = heat(f64::from(step) / f64::from(STEPS - 1));
            area.draw(&Rectangle::new(corners, colour.filled()))?;
        }
        for tick in scale.ticks() {
            let x = left + (scale.share(tick) * f64::from(width)).round() as i32;
            area.draw(&PathElement::new(vec![(x, 18), (x, 22)], FAINT))?;
            let style = text(SMALL, INK, HPos::Center);
            area.draw(&Text::new(self.quantity.tick(tick), (x, 31), style))?;
        }
        Ok(())
    }

    fn draw_timed(&self, time: &Time, scale: &Scale, left: u32, area: &Area<'_>) -> Drawn {
        let margins = Margins {
            left,
            right: 30,
            ..Margins::default()
        };
        let up = Axis::of_rows(self.rows.len());
        let chart = frame(area, margins, Axis::of_time(time.end()), up)?;
        let plot = chart.plotting_area();
        let corners = [(0.0, 0.0), (time.end(), self.rows.len() as f64)];
        plot.draw(&Rectangle::new(corners, GRID.filled()))?;
        for (row, cells) in self.cells.iter().enumerate() {
            let cell = |same: Option<(f64, f64, RGBColor)>| {
                same.map_or(Ok(()), |(from, to, colour)| {
                    let corners = [(from, row as f64), (to, row as f64 + 1.0)];
                    plot.draw(&Rectangle::new(corners, colour.filled()))
                })
            };
            // Neighbours of one colour are one rectangle.
            let mut same: Option<(f64, f64, RGBColor)> = None;
            let coloured = time.intervals.iter().zip(cells);
            let coloured = coloured
                .filter_map(|(&(from, to), number)| Some((from, to, scale.colour((*number)?))));
            for (from, to, colour) in coloured {
                let begin = match same {
                    Some((begin, end, before)) if before == colour && end >= from => begin,
                    _ => {
                        cell(same)?;
                        from
                    }
                };
                same = Some((begin, to, colour));
            }
            cell(same)?;
        }
        Ok(())
    }

    fn draw_named(&self, names: &[String], scale: &Scale, area: &Area<'_>) -> Drawn {
        let (wide, _) = area.dim_in_pixel();
        let width = wide as i32 / names.len().max(1) as i32;
        for (column, name) in names.iter().enumerate() {
            let x = width * column as i32 + width / 2;
            // In two lines, so that there is room for long names.
            let (y, from) = if column % 2 == 0 { (10, 18) } else { (28, 36) };
            let room = (2 * width - 8).max(0) as u32;
            let name = fit(name, SMALL, room);
            area.draw(&Text::new(name, (x, y), text(SMALL, INK, HPos::Center)))?;
            area.draw(&PathElement::new(
                vec![(x, from), (x, HEADS as i32 - 2)],
                GRID,
            ))?;
        }
        let row = self.row() as i32;
        for (index, cells) in self.cells.iter().enumerate() {
            for (column, number) in cells.iter().enumerate() {
                let (left, top) = (width * column as i32, HEADS as i32 + row * index as i32);
                let number = number.filter(|&number| number > 0.0);
                let colour = number.map_or(PAPER, |number| scale.colour(number));
                let corners = [(left, top), (left + width, top + row)];
                area.draw(&Rectangle::new(corners, colour.filled()))?;
                area.draw(&Rectangle::new(corners, PAPER.stroke_width(1)))?;
                if let Some(number) = number.filter(|_| row >= 16) {
                    let at = (left + width / 2, top + row / 2);
                    let style = text(SMALL, ink_on(colour), HPos::Center);
                    area.draw(&Text::new(self.quantity.say(number), at, style))?;
                }
            }
        }
        Ok(())
    }
}
