// SPDX-License-Identifier: GPL-2.0
//! What kernels with debug options tell on demand.

use crate::vmm::cpu;
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

/// How many pieces of per-CPU memory are allocated, if the kernel tells.
#[derive(Debug)]
pub struct PerCpu(Option<u64>);

impl PerCpu {
    pub fn now() -> Self {
        let text = fs::read_to_string(PERCPU).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let number = lines.find(|(name, _)| name.trim() == "nr_cur_alloc");
        Self(number.and_then(|(_, number)| number.trim().parse().ok()))
    }

    /// A complaint if the number has changed. On 7.3, it is one more even if the profiler was
    /// never loaded, and KVM is unpatched. (A load of the profiler takes several.)
    pub fn grown(&self) -> Option<String> {
        let now = Self::now();
        let own = u64::from(cpu::linux() >= (7, 3));
        let (least, most) = (self.0, self.0.map(|before| before + own));
        (now.0 < least || now.0 > most).then(|| format!("per-CPU memory: {now:?}, before {self:?}"))
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
