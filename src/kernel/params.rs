// SPDX-License-Identifier: GPL-2.0

//! Actions when a parameter is written.

use crate::{
    host::Host,
    kvm,
    profile::detail::Kinds,
    reading::Reading,
    sys::{error::einval, params::ParamLock},
    table::{self, Log},
};
use core::{
    ffi::{c_char, c_int},
    fmt::{self, Write},
    slice, str,
};

/// Parses parameter `details`.
///
/// # Errors
///
/// `-EINVAL`.
///
/// # Safety
///
/// `sys/params.c` calls this. `names` has `len` bytes, and `kinds` is valid.
#[no_mangle]
unsafe extern "C" fn exitprof_parse_details(
    names: *const c_char,
    len: usize,
    kinds: *mut u32,
) -> c_int {
    // SAFETY: The caller's text is as long as it says.
    let names = unsafe { slice::from_raw_parts(names.cast::<u8>(), len) };
    match str::from_utf8(names).ok().and_then(Kinds::parse) {
        Some(parsed) => {
            // SAFETY: The caller's pointer is valid.
            unsafe { kinds.write(parsed.0) };
            0
        }
        None => einval().to_errno(),
    }
}

/// Writes the names of `kinds`, at most `len` bytes. Returns how many.
///
/// # Safety
///
/// `sys/params.c` calls this. `names` has room for `len` bytes.
#[no_mangle]
unsafe extern "C" fn exitprof_print_details(kinds: u32, names: *mut c_char, len: usize) -> usize {
    // SAFETY: The caller's buffer is as long as it says.
    let buffer = unsafe { slice::from_raw_parts_mut(names.cast::<u8>(), len) };
    let mut text = Text { buffer, used: 0 };
    // What does not fit is left out.
    let _ = write!(text, "{}", Kinds(kinds));
    text.used
}

/// Text in a buffer.
struct Text<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used.wrapping_add(text.len());
        let room = self.buffer.get_mut(self.used..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

/// Parameter `recording`, `phases`, `details` or `code` was written.
///
/// # Safety
///
/// `sys/params.c` calls the functions below, and holds the parameters' lock.
#[no_mangle]
unsafe extern "C" fn exitprof_recording_changed() {
    // SAFETY: `sys/params.c` holds the lock during the call.
    let lock = unsafe { ParamLock::held() };
    kvm::resume(&lock);
}

/// Parameter `reset` was written.
#[no_mangle]
unsafe extern "C" fn exitprof_reset() {
    // SAFETY: `sys/params.c` holds the lock during the call.
    let lock = unsafe { ParamLock::held() };
    kvm::start_from_zero(&lock);
}

/// Parameter `report` was written.
#[no_mangle]
unsafe extern "C" fn exitprof_report(by_vcpu: bool) {
    // SAFETY: `sys/params.c` holds the lock during the call.
    let lock = unsafe { ParamLock::held() };
    report(&lock, by_vcpu);
}

/// Logs a table of exits.
pub(crate) fn report(lock: &ParamLock, by_vcpu: bool) {
    // The only error is a lack of memory, which the kernel logs itself.
    let _ = match Host::get(lock) {
        Some(host) if by_vcpu => table::by_vcpu(&host, &Reading::begin(), &mut Log),
        Some(host) => table::by_reason(&host, &mut Log),
        None => Ok(()),
    };
}
