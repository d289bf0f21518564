// SPDX-License-Identifier: GPL-2.0
//! What must be true: how many exits there are, and what the profiler has to say.

pub mod attribution;
pub mod catalog;
mod counts;
pub mod details;
pub mod evidence;
pub mod growth;
mod histogram;
pub mod leaf;
pub mod log;
mod model;
pub mod phases;
pub mod probe;
mod rising;
pub mod snapshot;
mod sweep;
mod totals;
mod workload;

pub use counts::{Counts, Which};
pub use histogram::{check_histogram, check_histograms};
pub use model::Model;
pub use rising::Rising;
pub use sweep::{Sweep, Want};
pub use totals::Oracle;
pub use workload::{K, Workload};
