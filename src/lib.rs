// SPDX-License-Identifier: GPL-2.0

//! The profile model of kvm-exitprof, for the tools and the tests.
//!
//! The kernel module compiles the same sources into itself: see [`profile`].

#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod profile;
