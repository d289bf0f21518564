// SPDX-License-Identifier: GPL-2.0
//! What kernels with debug options tell on demand.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The leak detector.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// Statistics of per-CPU memory, whose leaks that detector does not find.
const PERCPU: &str = "/sys/kernel/debug/percpu_stats";
/// Signs of a kernel on which each lock or memory access takes far longer.
const SLOW: [&str; 2] = ["/proc/lockdep", "/sys/kernel/debug/kcsan"];

/// How many times longer than usual a test may take.
pub fn patience() -> u64 {
    let slow = SLOW.iter().any(|path| Path::new(path).exists());
    if slow { 10 } else { 1 }
}

/// How much per-CPU memory is allocated, if the kernel tells.
#[derive(Debug, PartialEq, Eq)]
pub struct PerCpu(Option<String>);

impl PerCpu {
    pub fn now() -> Self {
        let text = fs::read_to_string(PERCPU).unwrap_or_default();
        let line = |l: &&str| l.trim_start().starts_with("nr_cur_alloc");
        Self(text.lines().find(line).map(str::to_owned))
    }

    /// A complaint if the amount has changed.
    pub fn grown(&self) -> Option<String> {
        let now = Self::now();
        (now != *self).then(|| format!("per-CPU memory: {now:?}, before {self:?}"))
    }
}

/// One line for each allocation without a reference, if there is a detector.
pub fn leaks() -> Result<Vec<String>> {
    if !Path::new(KMEMLEAK).exists() {
        return Ok(Vec::new());
    }
    let scan = || fs::write(KMEMLEAK, "scan").context(KMEMLEAK);
    // The detector reports what is 5 s old and has not changed since an earlier scan.
    scan()?;
    sleep(Duration::from_secs(6));
    scan()?;
    let text = fs::read_to_string(KMEMLEAK).context(KMEMLEAK)?;
    let leaks = text.split("unreferenced object ").skip(1);
    let line = |leak: &str| leak.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(leaks.map(|leak| format!("leak: {}", line(leak))).collect())
}
