// SPDX-License-Identifier: GPL-2.0

//! The axes of a chart.

use crate::plot::{
    axis::Axis,
    canvas::{Area, Canvas, Drawn, text},
    style::{FAINT, GRID, INK, SMALL},
};
use plotters::{chart::ChartContext, coord::cartesian::Cartesian2d, prelude::*};
use plotters_backend::text_anchor::HPos;

/// The height of the axis below.
pub const AXIS: u32 = 26;
/// The width of a tick at the left, with what is between that and its name.
pub const TICK: u32 = 10;

/// The plot between axes.
pub type Plot<'a, 'b> = ChartContext<'a, Canvas<'b>, Cartesian2d<Axis, Axis>>;

/// What is left free around a plot and its axes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Margins {
    /// Above.
    pub top: u32,
    /// To the left, with the axis there.
    pub left: u32,
    /// To the right.
    pub right: u32,
}

/// Draws axes: one below, and one to the left if that has ticks, from which lines go through the
/// plot; otherwise from those below.
///
/// # Errors
///
/// If that fails.
pub fn frame<'a, 'b>(
    area: &'a Area<'b>,
    margins: Margins,
    across: Axis,
    up: Axis,
) -> Drawn<Plot<'a, 'b>> {
    let has_left = !up.ticks.is_empty();
    let (margin, names) = match has_left {
        true => (0, margins.left.max(up.width() + TICK)),
        false => (margins.left, 0),
    };
    let (wide, _) = area.dim_in_pixel();
    let across = across.fitting(wide.saturating_sub(margin + names + margins.right));
    let mut chart = ChartBuilder::on(area)
        .margin_top(margins.top)
        .margin_left(margin)
        .margin_right(margins.right)
        .x_label_area_size(AXIS)
        .y_label_area_size(names)
        .build_cartesian_2d(across, up)?;
    let style = text(SMALL, INK, HPos::Left);
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(GRID)
        .axis_style(FAINT)
        .set_all_tick_mark_size(4)
        .label_style(style);
    match has_left {
        true => mesh.disable_x_mesh(),
        false => mesh.disable_y_mesh().disable_y_axis(),
    };
    mesh.draw()?;
    Ok(chart)
}

/// Where a point of the plot is in the area that its frame was drawn on.
pub fn pixel(area: &Area<'_>, plot: &Plot<'_, '_>, at: (f64, f64)) -> (i32, i32) {
    let (left, above) = area.get_base_pixel();
    let (x, y) = plot.backend_coord(&at);
    (x - left, y - above)
}
