// SPDX-License-Identifier: GPL-2.0
//! What must be true.

pub mod book;
pub mod leaf;
pub mod workload;
pub mod workloads;
