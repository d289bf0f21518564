// SPDX-License-Identifier: GPL-2.0
//! The duties of process 1, in an image that holds only this program and the
//! modules.

use std::ffi::CString;
use std::{fs, ptr, thread, time};

/// Whether this process is the emulated machine's init.
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Mounts the file systems that the tests need.
pub fn mount_all() {
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("debugfs", "/sys/kernel/debug"),
        ("tracefs", "/sys/kernel/tracing"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        // A failure shows up where the file system is needed. It may be mounted
        // already.
        let _ = fs::create_dir_all(at);
        let (kind, at) = (CString::new(kind), CString::new(at));
        if let (Ok(kind), Ok(at)) = (kind, at) {
            // SAFETY: all pointers are to NUL-terminated strings or null.
            unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, ptr::null()) };
        }
    }
}

/// The words after `--` on the kernel's command line.
///
/// argv has them too, but also every other word that the kernel does not know.
/// Boot loaders append words of their own, which contain `=`.
pub fn arguments() -> Vec<String> {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let words = line.split_whitespace().skip_while(|&word| word != "--");
    let words = words.skip(1).filter(|word| !word.contains('='));
    words.map(str::to_owned).collect()
}

/// Switches the machine off, after a pause in which its serial lines drain.
pub fn power_off() -> ! {
    thread::sleep(time::Duration::from_secs(1));
    loop {
        // SAFETY: ending the machine is this function's purpose.
        unsafe {
            libc::sync();
            libc::reboot(libc::RB_POWER_OFF);
        }
        thread::sleep(time::Duration::from_secs(1));
    }
}
