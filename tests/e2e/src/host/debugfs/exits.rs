// SPDX-License-Identifier: GPL-2.0
//! The files `exits`: a table by reason.

use super::paths::{Counted, PROFILER};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A file `exits`.
#[derive(Debug, PartialEq, Eq)]
pub struct ExitsTable {
    /// By the reason's number as the file writes it, or "other".
    pub rows: BTreeMap<String, Counted>,
    pub total: Counted,
}

impl ExitsTable {
    /// The host's.
    pub fn of_host() -> Result<Self> {
        Self::read(Path::new(PROFILER))
    }

    /// That of a directory. The rows must add up to the total.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("exits");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        ensure!(head.trim_start().starts_with("reason"), "no head: {text}");
        let mut rows = BTreeMap::new();
        let mut sum = (0, 0);
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            let [first, .., exits, cycles] = words[..] else {
                bail!("not a row: {line}");
            };
            let sample = (exits.parse::<u64>()?, cycles.parse::<u64>()?);
            if first == "total" {
                ensure!(sample == sum, "the rows are {sum:?}, {line}");
                return Ok(Self { rows, total: sum });
            }
            sum = (sum.0 + sample.0, sum.1 + sample.1);
            rows.insert(first.to_owned(), sample);
        }
        bail!("no total: {text}")
    }

    /// The exits of a reason.
    pub fn exits(&self, reason: u32) -> u64 {
        let number = |name: &str| match name.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => name.parse().ok(),
        };
        let mut rows = self.rows.iter();
        let row = rows.find(|(name, _)| number(name) == Some(reason));
        row.map_or(0, |(_, &(exits, _))| exits)
    }
}
