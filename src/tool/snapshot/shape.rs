// SPDX-License-Identifier: GPL-2.0

//! The shape that types of the model have as JSON. The model is for the kernel, too, and
//! knows nothing of schemas; tests compare these with what is printed.

use schemars::JsonSchema;

/// The instruction set that reasons belong to.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[allow(dead_code)]
pub enum Isa {
    /// Intel's VMX. Reasons are basic exit reasons.
    Vmx,
    /// AMD's SVM. Reasons are exit codes.
    Svm,
}

/// What the profiler costs.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct Account {
    /// The cycles by which each exit's cycles are too high, because they include a reading of
    /// the TSC.
    sample_cycles: u64,
    /// The cycles that a sample adds to an exit.
    record_cycles: u64,
    /// The bytes of memory that the counters take.
    memory_bytes: u64,
    /// The number of lines that were left out of the host's log.
    suppressed: u64,
}

/// The histogram of timed exits.
#[derive(JsonSchema)]
#[allow(dead_code)]
pub struct Histogram {
    /// The lowest number of cycles of an exit.
    min: u64,
    /// The highest number of cycles of an exit.
    max: u64,
    /// The number of exits of 2^n to 2^(n+1)-1 cycles for n from 0 to 29. The first also has
    /// those of 0 cycles, and the last all longer ones.
    log2: [u64; 30],
}
