// SPDX-License-Identifier: GPL-2.0
//! Runs tests and reports how they end.

pub mod effort;
pub mod init;
pub mod ktap;
pub mod random;
pub mod runner;
pub mod watchdog;
