// SPDX-License-Identifier: GPL-2.0

//! Judgments on what scripts built, booted and logged.
//!
//! Scripts call the program `judge`. The judge calls no script.

pub mod complaints;
pub mod demo;
pub mod ktap;
pub mod libtest;
pub mod msrs;
pub mod names;
pub mod reasons;
