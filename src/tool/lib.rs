// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows which VM exits were counted, and what they cost.

#![warn(missing_docs)]

pub mod cli;
mod delta;
pub mod snapshot;
pub mod source;
pub mod sweep;
