// SPDX-License-Identifier: GPL-2.0

//! Random profiles as pictures.

use super::{arguments, fuzz, profiles::profile, run, selection, words};
use crate::plot::picture::Picture;
use proptest::prelude::*;
use std::fs;

/// What is drawn is a valid SVG, whose texts can be read.
#[test]
fn pictures_can_be_read() {
    let what = prop::sample::select(vec![
        "exits -i a",
        "exits --sort time -i a -i b",
        "histogram -i a",
        "histogram -i a -i b",
        "histogram --cycles -i a",
        "phases -i a",
        "phases -i a -i b",
        "heatmap -i a",
    ]);
    fuzz(
        (what, profile(), profile(), selection()),
        |dir, (what, a, b, selection)| {
            fs::write(dir.join("a"), a.text()).unwrap();
            fs::write(dir.join("b"), b.text()).unwrap();
            let mut line = words(&format!("plot {what}"));
            line.extend(arguments(&selection));
            let output = run(dir, &line)?;
            if output.status.success() {
                let picture = Picture::parse(std::str::from_utf8(&output.stdout).unwrap());
                picture.check_texts();
                let (wide, high) = picture.size;
                let is_inside =
                    |x: f64, y: f64| (0.0..=wide).contains(&x) && (0.0..=high).contains(&y);
                for r in &picture.rects {
                    let ends = (r.x + r.width, r.y + r.height);
                    let is_drawn = is_inside(r.x, r.y) && is_inside(ends.0, ends.1);
                    prop_assert!(is_drawn, "{:?} in {:?}: {:?}", r, picture.size, line);
                }
            }
            Ok(())
        },
    );
}
