// SPDX-License-Identifier: GPL-2.0
//! The profiler's files in debugfs.

mod exits;
mod paths;
mod profile;
mod vcpus;

pub use exits::ExitsTable;
pub use paths::{PROFILER, kvm_dir, vcpu_dir, vm_dir, vms};
pub use profile::{Line, ProfileFile};
pub use vcpus::VcpusTable;
