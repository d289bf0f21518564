// SPDX-License-Identifier: GPL-2.0

//! The commands, a file or folder each, and what several of them share.

pub mod check;
mod child;
mod clock;
pub mod control;
mod details;
pub mod diff;
pub mod exporter;
pub mod generate;
mod naming;
mod patient;
pub mod plot;
pub mod record;
pub mod recorded;
pub mod report;
mod restart;
pub mod schema;
mod seconds;
mod show;
mod signals;
pub mod stat;
pub mod sweep;
pub mod tell;
pub mod top;
