// SPDX-License-Identifier: GPL-2.0
//! What only kernels with debug options tell, and tell when they are asked.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The detector of leaks.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// Figures about per-CPU memory, leaks of which that detector does not report.
const PERCPU: &str = "/sys/kernel/debug/percpu_stats";
/// Where one of these is, each lock or memory access takes far longer.
const SLOW: [&str; 2] = ["/proc/lockdep", "/sys/kernel/debug/kcsan"];

/// How many times longer than usual a test may take.
pub fn patience() -> u64 {
    let slow = SLOW.iter().any(|path| Path::new(path).exists());
    if slow { 10 } else { 1 }
}

/// How much per-CPU memory is allocated, and nothing if the kernel does not
/// tell.
#[derive(Debug, PartialEq, Eq)]
pub struct PerCpu(Option<String>);

impl PerCpu {
    pub fn now() -> Self {
        let text = fs::read_to_string(PERCPU).unwrap_or_default();
        let line = |l: &&str| l.trim_start().starts_with("nr_cur_alloc");
        Self(text.lines().find(line).map(str::to_owned))
    }

    /// A complaint if that is not what it was before.
    pub fn grown(&self) -> Option<String> {
        let now = Self::now();
        (now != *self).then(|| format!("per-CPU memory: {now:?}, at first {self:?}"))
    }
}

/// Memory that nobody refers to any more; one line for each allocation. None
/// where there is no detector.
pub fn leaks() -> Result<Vec<String>> {
    if !Path::new(KMEMLEAK).exists() {
        return Ok(Vec::new());
    }
    let scan = || fs::write(KMEMLEAK, "scan").context(KMEMLEAK);
    // What it reports has not changed since an earlier scan, and is 5 s old.
    scan()?;
    sleep(Duration::from_secs(6));
    scan()?;
    let text = fs::read_to_string(KMEMLEAK).context(KMEMLEAK)?;
    let leaks = text.split("unreferenced object ").skip(1);
    let line = |leak: &str| leak.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(leaks.map(|leak| format!("leak: {}", line(leak))).collect())
}
