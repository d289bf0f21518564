// SPDX-License-Identifier: GPL-2.0
//! The host: its modules, log, files, CPUs and processes.

pub mod cpus;
pub mod debug;
pub mod debugfs;
pub mod kmsg;
pub mod module;
pub mod stuck;
pub mod tenant;
pub mod text;
pub mod tracepoint;
