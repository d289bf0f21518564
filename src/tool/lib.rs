// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows which VM exits were counted, and what they cost.

#![warn(missing_docs)]

pub mod cli;
mod delta;
pub mod interrupt;
pub mod output;
mod percentile;
pub mod rate;
pub mod report;
pub mod select;
pub mod snapshot;
pub mod source;
pub mod sweep;
pub mod table;
pub mod units;
pub mod view;
pub mod words;
