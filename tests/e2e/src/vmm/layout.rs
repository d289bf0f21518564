// SPDX-License-Identifier: GPL-2.0
//! Guest-physical memory layout.

/// RAM of the guest, from address 0.
pub const RAM: usize = 16 << 20;
/// Segment descriptors.
pub const GDT: u32 = 0x1000;
/// Interrupt descriptors, one page.
pub const IDT: u32 = 0x2000;
/// The interpreter.
pub const CODE: u32 = 0x3000;
/// Operations.
pub const OPS: u32 = 0x4000;
/// Pages that all vCPUs use, from 0 on.
pub const SHARED_PAGES: u32 = (OPS + 0x4000) / PAGE;
/// The loops of CPUIDs, and what they need.
pub const CPUID_LOOP: u32 = 0x1_0000;
/// First of the vCPUs' own windows.
pub const WINDOWS: u32 = 0x10_0000;
/// Size of a window: results, then commands, then the stack.
pub const WINDOW: u32 = 0x2_1000;
/// Room for commands, and as much for results.
pub const TABLE: u32 = 0x1_0000;
/// Task state segments, which an operation fills.
pub const TSS: u32 = 0x70_0000;
/// Three pages of page tables for long mode, which an operation fills.
pub const PAGE_TABLES: u32 = 0x70_1000;
/// What a guest hypervisor needs: see [`super::nested`].
pub const NESTED: u32 = 0x40_0000;
/// Its VMCS or VMCB.
pub const CONTROL_BLOCK: u32 = NESTED + PAGE;
/// Pages that nobody touches before a test does.
pub const UNTOUCHED: u32 = 0x80_0000;
/// An address without memory or device.
pub const UNBACKED: u32 = 0xd000_0000;
/// Guest page size.
pub const PAGE: u32 = 0x1000;
/// Flat 32-bit code selector.
pub const CODE_SEL: u16 = 8;
/// Flat 32-bit data selector.
pub const DATA_SEL: u16 = 16;
