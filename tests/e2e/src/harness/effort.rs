// SPDX-License-Identifier: GPL-2.0
//! How much the tests do, and which random numbers they use.

use anyhow::{Context, Result};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many times as much `soak` does.
const SOAK: u32 = 40;

#[derive(Clone, Copy)]
pub struct Effort {
    /// Multiplies the repetitions of tests that can go on for long.
    pub factor: u32,
    /// The seed of random numbers.
    pub seed: u64,
}

impl Effort {
    /// The same every time, unless `seed` is given.
    pub fn test(seed: Option<u64>) -> Self {
        Self {
            factor: 1,
            seed: seed.unwrap_or(1),
        }
    }

    /// Much more, with a new seed every time, unless `seed` is given.
    pub fn soak(seed: Option<u64>) -> Self {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            factor: SOAK,
            seed: seed.unwrap_or_else(|| now().map_or(1, |t| t.as_nanos() as u64)),
        }
    }
}

/// Parses a seed as tests print it.
pub fn seed(text: &str) -> Result<u64> {
    let hex = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(hex, 16).with_context(|| format!("not a seed: {text}"))
}
