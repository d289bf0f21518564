// SPDX-License-Identifier: GPL-2.0
//! What exits and queries cost, with the profiler and with its peers. In Bochs a TSC
//! tick is an instruction.

mod benchmark;
pub mod exits;
mod peers;
pub mod scale;
mod setup;
