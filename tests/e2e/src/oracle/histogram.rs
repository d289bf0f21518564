// SPDX-License-Identifier: GPL-2.0
//! Histograms, minima and maxima.

use crate::host::debugfs::{Line, ProfileFile};
use anyhow::{Context, Result, ensure};

/// The last bucket, which also holds all higher numbers.
const LAST_BUCKET: u32 = 29;

/// Checks the histograms of all the host's reasons.
pub fn check_histograms(file: &ProfileFile) -> Result<()> {
    let mut lines = file.of("host");
    lines.try_for_each(|line| check_histogram(line).with_context(|| format!("{line:?}")))
}

/// Checks that a line's histogram, minimum and maximum allow its cycles. They are of
/// the timed exits.
pub fn check_histogram(line: &Line) -> Result<()> {
    let (exits, cycles) = line.counted()?;
    let timed = exits - line.number("untimed")?;
    if timed == 0 {
        let none = cycles == 0 && line.number("min").is_err() && line.log2().is_err();
        ensure!(none, "a histogram or cycles without a timed exit");
        return Ok(());
    }
    let (min, max) = (line.number("min")?, line.number("max")?);
    let log2 = line.log2()?;
    ensure!(log2.values().sum::<u64>() == timed, "not {timed} exits");
    // One exit has the minimum, one the maximum, and the others are in between.
    let (least, most) = (min * (timed - 1) + max, max * (timed - 1) + min);
    ensure!(
        (least..=most).contains(&cycles),
        "{cycles} cycles, {least} to {most} by minimum and maximum"
    );
    let power = |bucket: u32| 1_u64 << bucket;
    let first = |bucket| if bucket == 0 { 0 } else { power(bucket) };
    let last = |bucket| match bucket {
        LAST_BUCKET => u64::MAX,
        _ => power(bucket + 1) - 1,
    };
    let (mut low, mut high) = (0, 0_u64);
    for (&bucket, &exits) in &log2 {
        ensure!(exits > 0, "an empty bucket");
        low += first(bucket) * exits;
        high = high.saturating_add(last(bucket).saturating_mul(exits));
    }
    ensure!(
        (low..=high).contains(&cycles),
        "{cycles} cycles, {low} to {high} by bucket"
    );
    for (extreme, bucket) in [(min, log2.keys().next()), (max, log2.keys().next_back())] {
        let bucket = *bucket.context("no bucket")?;
        let own = first(bucket)..=last(bucket);
        ensure!(
            own.contains(&extreme),
            "{extreme} is not in bucket {bucket}"
        );
    }
    Ok(())
}
