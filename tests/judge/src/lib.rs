// SPDX-License-Identifier: GPL-2.0

//! Judgments on what scripts built, booted and logged.
//!
//! Scripts call these through the program `judge`, and never the other way round.

pub mod complaints;
pub mod demo;
pub mod ktap;
pub mod libtest;
pub mod names;
pub mod reasons;
