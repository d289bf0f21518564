// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows which VM exits were counted, and what they cost.

#![warn(missing_docs)]

pub mod cli;
pub mod continuity;
mod delta;
mod diff;
mod generate;
pub mod histogram;
pub mod id;
mod interrupt;
pub mod output;
mod parse;
pub mod rate;
mod reasons;
mod record;
mod report;
pub mod select;
pub mod snapshot;
pub mod source;
mod stat;
mod sweep;
pub mod table;
pub mod top;
pub mod units;
pub mod view;
mod words;
