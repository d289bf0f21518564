// SPDX-License-Identifier: GPL-2.0
//! Runs tests and reports how they end. It knows nothing of KVM.

pub mod effort;
pub mod init;
mod ktap;
mod random;
pub mod runner;
mod test;
pub mod threads;
mod verdict;
pub mod watchdog;

pub use effort::Effort;
pub use ktap::Ktap;
pub use random::Random;
pub use test::{Machine, Test};
pub use verdict::Skip;
