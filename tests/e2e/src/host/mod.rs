// SPDX-License-Identifier: GPL-2.0
//! The host: its modules, log, files, CPUs and processes.

pub mod counting;
pub mod cpus;
pub mod debug;
pub mod debugfs;
mod doctored;
mod kmsg;
pub mod module;
mod state;
mod stuck;
pub mod tenant;
mod tracepoint;

pub use doctored::{
    Change, Doctored, OTHER_CONTRACT, OTHER_LAYOUT, OTHER_PAUSE, OTHER_SAMPLE, OTHER_VCPU,
    SECOND_PROFILER, WITHOUT_MEMORY, WITHOUT_VCPU_MEMORY,
};
pub use kmsg::Kmsg;
pub use state::{Host, State};
pub use stuck::{Call, StuckReader};
pub use tracepoint::Tracepoint;
