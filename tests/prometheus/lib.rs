// SPDX-License-Identifier: GPL-2.0

//! What tests with Prometheus share: the programs, and a server.

pub mod programs;
pub mod server;
