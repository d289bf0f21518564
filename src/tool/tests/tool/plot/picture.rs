// SPDX-License-Identifier: GPL-2.0

//! Reads pictures that the tool draws.

use crate::host::exitprof;
use ab_glyph::{Font, FontRef, ScaleFont};
use roxmltree::{Document, Node};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// The colours that tests look for.
pub const BLUE: &str = "#0072B2";
pub const GREY: &str = "#999999";
pub const BEFORE: &str = "#BFBFBF";
pub const SKY: &str = "#56B4E9";

/// A filled rectangle.
#[derive(Clone, Debug, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub fill: String,
}

/// A text, and the box that it fills, if the font is as wide as DejaVu Sans.
#[derive(Clone, Debug)]
pub struct Text {
    pub text: String,
    pub left: f64,
    pub right: f64,
    /// The height of its middle.
    pub y: f64,
    pub size: f64,
}

/// A line of several points.
#[derive(Clone, Debug)]
pub struct Line {
    pub points: Vec<(f64, f64)>,
    pub stroke: String,
}

/// An SVG.
#[derive(Debug)]
pub struct Picture {
    pub title: String,
    pub size: (f64, f64),
    pub rects: Vec<Rect>,
    pub texts: Vec<Text>,
    pub lines: Vec<Line>,
}

impl Picture {
    /// What `exitprof plot` draws with these arguments.
    pub fn of(arguments: &[&str]) -> Picture {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("picture.svg");
        draw(arguments, &file);
        Picture::parse(&fs::read_to_string(file).unwrap())
    }

    /// Reads an SVG.
    pub fn parse(svg: &str) -> Picture {
        let document = Document::parse(svg).unwrap_or_else(|e| panic!("{e}: {svg}"));
        let root = document.root_element();
        let named = |name: &'static str| {
            let all = root.descendants();
            all.filter(move |node| node.tag_name().name() == name)
        };
        let filled = |node: &Node<'_, '_>| node.attribute("fill") != Some("none");
        let rect = |node: Node<'_, '_>| Rect {
            x: number(node, "x"),
            y: number(node, "y"),
            width: number(node, "width"),
            height: number(node, "height"),
            fill: node.attribute("fill").unwrap().into(),
        };
        let line = |node: Node<'_, '_>| Line {
            points: (node.attribute("points").unwrap().split_whitespace())
                .map(|point| {
                    let (x, y) = point.split_once(',').unwrap();
                    (x.parse().unwrap(), y.parse().unwrap())
                })
                .collect(),
            stroke: node.attribute("stroke").unwrap().into(),
        };
        Picture {
            title: named("title").next().unwrap().text().unwrap().into(),
            size: (number(root, "width"), number(root, "height")),
            rects: named("rect").filter(filled).map(rect).collect(),
            texts: named("text").map(text).collect(),
            lines: named("polyline").map(line).collect(),
        }
    }

    /// The text that is `words`.
    pub fn text(&self, words: &str) -> &Text {
        let mut found = self.texts.iter().filter(|text| text.text == words);
        found
            .next()
            .unwrap_or_else(|| panic!("no {words:?} in {:#?}", self.texts))
    }

    /// Whether there is such a text.
    pub fn says(&self, words: &str) -> bool {
        self.texts.iter().any(|text| text.text == words)
    }

    /// The rectangles of a colour, from left to right.
    pub fn filled(&self, colour: &str) -> Vec<&Rect> {
        let mut rects: Vec<&Rect> = self.rects.iter().filter(|r| r.fill == colour).collect();
        rects.sort_by(|a, b| a.x.total_cmp(&b.x));
        rects
    }

    /// The rectangles of a colour that are beside a text.
    pub fn beside(&self, words: &str, colour: &str) -> Vec<&Rect> {
        let y = self.text(words).y;
        let mut rects = self.filled(colour);
        rects.retain(|rect| (rect.y..rect.y + rect.height).contains(&y));
        rects
    }

    /// The text to the right of a rectangle.
    pub fn label(&self, rect: &Rect) -> &str {
        let (end, middle) = (rect.x + rect.width, rect.y + rect.height / 2.0);
        let beside = |text: &&Text| (text.left - end).abs() < 9.0 && (text.y - middle).abs() <= 2.0;
        let mut found = self.texts.iter().filter(beside);
        &found
            .next()
            .unwrap_or_else(|| panic!("nothing beside {rect:?}"))
            .text
    }

    /// Checks that no text lies on another, or leaves the picture.
    pub fn check_texts(&self) {
        let (wide, high) = self.size;
        for (index, a) in self.texts.iter().enumerate() {
            let half = a.size * 0.35;
            assert!(a.left >= 0.0 && a.right <= wide, "{a:?} leaves {wide}");
            assert!(
                a.y - half >= 0.0 && a.y + half <= high,
                "{a:?} leaves {high}"
            );
            for b in &self.texts[index + 1..] {
                let apart = a.right <= b.left
                    || b.right <= a.left
                    || (a.y - b.y).abs() >= (a.size + b.size) * 0.35;
                assert!(apart, "{a:?} and {b:?} lie on each other");
            }
        }
    }
}

/// Runs `exitprof plot`, which must succeed, with `file` as its output.
pub fn draw(arguments: &[&str], file: &PathBuf) {
    exitprof()
        .arg("plot")
        .args(arguments)
        .arg("-o")
        .arg(file)
        .assert()
        .success();
}

fn number(node: Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

fn text(node: Node<'_, '_>) -> Text {
    let words = node
        .text()
        .unwrap()
        .trim_end_matches('\n')
        .trim_start_matches('\n');
    let size = number(node, "font-size");
    let x = number(node, "x");
    let wide = width(words, size);
    let left = match node.attribute("text-anchor").unwrap() {
        "start" => x,
        "middle" => x - wide / 2.0,
        _ => x - wide,
    };
    // Where the base line is, less half of the height of letters.
    let below = match node.attribute("dy").unwrap() {
        "0.76em" => 0.76 - 0.27,
        "0.5ex" => 0.0,
        _ => -0.54,
    };
    Text {
        text: words.into(),
        left,
        right: left + wide,
        y: number(node, "y") + below * size,
        size,
    }
}

/// The width of a text of the given size.
fn width(text: &str, size: f64) -> f64 {
    let font = FontRef::try_from_slice(dejavu::sans::regular()).unwrap();
    let units = font.units_per_em().unwrap();
    let scaled = font.as_scaled(size as f32 * font.height_unscaled() / units);
    let advance = |c: char| f64::from(scaled.h_advance(font.glyph_id(c)));
    text.chars().map(advance).sum()
}
