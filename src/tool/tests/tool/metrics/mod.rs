// SPDX-License-Identifier: GPL-2.0

//! What monitoring systems read: the text, and the series that are in it.

mod parser;
mod report;
mod series;

pub use parser::{Key, Metrics};
