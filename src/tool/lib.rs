// SPDX-License-Identifier: GPL-2.0

//! exitprof: shows VM exits and what they cost.
//!
//! Arrows go one way: `cli` → `commands` → `render` → `view` → `delta` → `snapshot`, and
//! `commands` → `source` → `recording` → `snapshot`.

#![warn(missing_docs)]

pub mod baseline;
mod budget;
pub mod cli;
pub mod columns;
pub mod commands;
mod comparison;
pub mod continuity;
mod delta;
pub mod names;
mod parts;
mod phase_changes;
pub mod plot;
pub mod rate;
mod reasons;
pub mod recording;
pub mod render;
pub mod select;
pub mod series;
pub mod snapshot;
pub mod source;
pub mod view;
