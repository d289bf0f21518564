// SPDX-License-Identifier: GPL-2.0
//! A small VMM and its bare guests.

pub mod cpu;
pub mod fuzz;
pub mod guest;
pub mod nested;
pub mod ops;
pub mod stats;
pub mod vm;
