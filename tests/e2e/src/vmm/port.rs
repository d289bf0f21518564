// SPDX-License-Identifier: GPL-2.0
//! I/O ports of the protocol between guest and VMM.

/// The program has ended.
pub const DONE: u16 = 0xe0;
/// An exception that no operation expects. EAX is the address of its handler.
pub const FAULT: u16 = 0xe1;
/// Asks for KVM's interrupt window.
pub const WINDOW: u16 = 0xe2;
/// Answers reads with [`FILL`], and ignores writes.
pub const SINK: u16 = 0xe3;
/// Sends the vCPU two NMIs.
pub const NMIS: u16 = 0xe4;
/// What reads without a device return, as on an empty bus.
pub const FILL: u8 = 0xff;
