// SPDX-License-Identifier: GPL-2.0
//! The guest's machine code, assembled into this program's image.

/// The bytes from one symbol up to another.
///
/// # Safety
///
/// Both must lie in, or one past, one object that is never written.
pub unsafe fn between(start: *const u8, end: *const u8) -> &'static [u8] {
    // SAFETY: by this function's contract.
    unsafe { core::slice::from_raw_parts(start, end.addr() - start.addr()) }
}

/// The bytes between two symbols of one blob.
pub fn distance(from: *const u8, to: *const u8) -> u32 {
    u32::try_from(to.addr() - from.addr()).expect("both are in one small blob")
}
