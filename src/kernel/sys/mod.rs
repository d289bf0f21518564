// SPDX-License-Identifier: GPL-2.0

//! The kernel's edge: a file for each of its facilities, safe where that can be.
//!
//! Nothing above this folder knows the kernel's bindings, or the module's C part.

#[allow(
    clippy::all,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings; // Made by bindgen: see Kbuild.
pub(crate) mod clock;
pub(crate) mod contract;
pub(crate) mod cpu;
pub(crate) mod debugfs;
pub(crate) mod error;
pub(crate) mod lock;
pub(crate) mod memory;
pub(crate) mod params;
pub(crate) mod percpu;
pub(crate) mod work;
