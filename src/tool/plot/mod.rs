// SPDX-License-Identifier: GPL-2.0

//! Pictures of what was counted.
//!
//! A [`Picture`] is made of the same views that reports are made of. It is drawn as an SVG, or
//! as a PNG that looks the same.

mod axis;
mod canvas;
mod chart;
pub mod exits;
pub mod latency;
mod names;
pub mod phases;
mod style;
pub mod timeline;
pub mod vcpus;

use anyhow::Result;
use canvas::{Area, Drawn, fit, text, width};
use chart::Chart;
use plotters::prelude::*;
use plotters_backend::text_anchor::HPos;
use style::{FAINT, INK, MARGIN, PAPER, SMALL, TEXT, TITLE, WIDTH};

/// The height of the title, and of each line below it or below the chart.
const HEAD: u32 = 32;
const LINE: u32 = 20;

/// A picture.
#[derive(Debug)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// Whose exits, and what else is above the chart.
    pub head: Vec<String>,
    /// What is below the chart.
    pub notes: Vec<String>,
    chart: Chart,
}

impl Picture {
    fn new(title: impl Into<String>, chart: Chart) -> Picture {
        Picture {
            title: title.into(),
            head: Vec::new(),
            notes: Vec::new(),
            chart,
        }
    }

    /// Draws it as an SVG.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn svg(&self) -> Result<String> {
        let page = self.page();
        let mut svg = canvas::svg(page.size, |area| page.draw(area))?;
        // Programs read it to those who cannot see the picture.
        let end = svg.find('\n').map_or(0, |end| end + 1);
        let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        svg.insert_str(end, &format!("<title>{}</title>\n", escaped(&self.title)));
        Ok(svg)
    }

    /// Draws it as a PNG.
    ///
    /// # Errors
    ///
    /// If that fails.
    pub fn png(&self) -> Result<Vec<u8>> {
        let page = self.page();
        canvas::png(page.size, |area| page.draw(area))
    }

    /// Lays it out.
    fn page(&self) -> Page<'_> {
        let wrap = |lines: &[String]| lines.iter().flat_map(|line| wrapped(line)).collect();
        let (head, notes): (Vec<String>, Vec<String>) = (wrap(&self.head), wrap(&self.notes));
        let lines = |lines: &[String]| LINE * lines.len() as u32;
        let above = HEAD + lines(&head) + LINE / 2;
        let below = match notes.len() {
            0 => 0,
            _ => LINE / 2 + lines(&notes),
        };
        let height = above + self.chart.height() + below + 2 * MARGIN;
        Page {
            picture: self,
            size: (WIDTH, height),
            head,
            notes,
            above,
            below,
        }
    }
}

/// A picture that is laid out.
struct Page<'a> {
    picture: &'a Picture,
    size: (u32, u32),
    head: Vec<String>,
    notes: Vec<String>,
    above: u32,
    below: u32,
}

impl Page<'_> {
    fn draw(&self, area: &Area<'_>) -> Drawn {
        area.fill(&PAPER)?;
        let area = area.margin(MARGIN, MARGIN, MARGIN, MARGIN);
        let (room, height) = area.dim_in_pixel();
        let title = fit(&self.picture.title, TITLE, room);
        let middle = HEAD as i32 / 2;
        area.draw(&Text::new(
            title,
            (0, middle - 4),
            text(TITLE, INK, HPos::Left),
        ))?;
        let line = |line: &String, top: u32, size: u32| {
            let at = (0, (top + LINE / 2) as i32);
            area.draw(&Text::new(line.clone(), at, text(size, FAINT, HPos::Left)))
        };
        for (number, words) in self.head.iter().enumerate() {
            line(words, HEAD + LINE * number as u32, TEXT)?;
        }
        for (number, words) in self.notes.iter().enumerate() {
            line(
                words,
                height - self.below + LINE / 2 + LINE * number as u32,
                SMALL,
            )?;
        }
        let chart = area.margin(self.above, self.below, 0, 0);
        self.picture.chart.draw(&chart)?;
        area.present()
    }
}

/// Lines of a text that fit the width of a picture.
fn wrapped(text: &str) -> Vec<String> {
    let room = WIDTH - 2 * MARGIN;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match longer.filter(|line| width(line, TEXT) <= room) {
            Some(longer) => *lines.last_mut().expect("there is a line") = longer,
            None => lines.push(fit(word, TEXT, room)),
        }
    }
    lines
}
