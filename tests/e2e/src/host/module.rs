// SPDX-License-Identifier: GPL-2.0
//! Kernel modules and their parameters.

use anyhow::{Context, Result};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The profiler's name as a module.
pub const PROFILER: &str = "kvm_exitprof";
/// The profiler's parameters.
pub const PARAMETERS: &str = "/sys/module/kvm_exitprof/parameters";

/// Whether the kernel lists the module.
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}

/// `insmod path params`.
pub fn insert(path: &Path, params: &str) -> io::Result<()> {
    let file = File::open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    let params = CString::new(params)?;
    // SAFETY: an open file and a NUL-terminated string, alive for the call.
    let r = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), params.as_ptr(), 0) };
    result(r)
}

/// `rmmod name`. The kernel may need a moment to let go of what has just been closed.
pub fn remove(name: &str) -> io::Result<()> {
    let mut tries = 50;
    loop {
        match remove_now(name) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && tries > 0 => tries -= 1,
            other => return other,
        }
        sleep(Duration::from_millis(20));
    }
}

/// `rmmod name`, without a second attempt.
pub fn remove_now(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: a NUL-terminated string, alive for the call.
    result(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) })
}

fn result(r: libc::c_long) -> io::Result<()> {
    if r == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The error number of a result, or 0.
pub fn errno(result: &io::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(-1),
    }
}

/// What strerror says about an error number.
pub fn describe(errno: i32) -> String {
    if errno == 0 {
        return "success".into();
    }
    // SAFETY: strerror returns a NUL-terminated string for any number. Only one thread
    // asks, and copies it before another call could change it.
    let text = unsafe { CStr::from_ptr(libc::strerror(errno)) };
    text.to_string_lossy().into_owned()
}

/// Reads a module's parameter.
pub fn param(module: &str, name: &str) -> Result<String> {
    let path = format!("/sys/module/{module}/parameters/{name}");
    let text = fs::read_to_string(&path).context(path)?;
    Ok(text.trim().to_owned())
}

/// Writes a module's parameter.
pub fn set_param(module: &str, name: &str, value: &str) -> Result<()> {
    let path = format!("/sys/module/{module}/parameters/{name}");
    fs::write(&path, value).context(path)
}

/// A parameter that has another value until this is dropped.
pub struct ParamGuard {
    module: &'static str,
    name: &'static str,
    before: String,
}

impl ParamGuard {
    pub fn set(module: &'static str, name: &'static str, value: &str) -> Result<Self> {
        let before = param(module, name)?;
        set_param(module, name, value)?;
        Ok(Self {
            module,
            name,
            before,
        })
    }
}

impl Drop for ParamGuard {
    fn drop(&mut self) {
        // After a failure the next test starts from nothing.
        let _ = set_param(self.module, self.name, &self.before);
    }
}
