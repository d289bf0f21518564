// SPDX-License-Identifier: GPL-2.0

//! Conversions of error numbers.

use super::bindings;
use kernel::prelude::*;

pub(crate) use kernel::error::code::ENOMEM;

/// The error with number `errno`, which is 1 to 4095.
pub(crate) fn from_errno(errno: u32) -> Error {
    match core::ffi::c_int::try_from(errno) {
        // SAFETY: `Error` consists of a single `c_int`, which is not zero in later kernels
        // (rust/kernel/error.rs; the compiler checks the size). The pattern keeps its
        // invariant, -MAX_ERRNO <= n < 0. Linux 6.1 has no other way to make an `Error`
        // from a number.
        Ok(errno @ 1..=4095) => unsafe { core::mem::transmute(-errno) },
        _ => einval(),
    }
}

pub(crate) fn enodev() -> Error {
    from_errno(bindings::ENODEV)
}

pub(crate) fn einval() -> Error {
    from_errno(bindings::EINVAL)
}

/// The result for C: 0, or `-ENOMEM`, because only memory can be lacking.
pub(crate) fn to_c(result: core::fmt::Result) -> core::ffi::c_int {
    const MINUS_ENOMEM: core::ffi::c_int = -(bindings::ENOMEM as core::ffi::c_int);
    result.map_or(MINUS_ENOMEM, |()| 0)
}
