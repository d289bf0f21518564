// SPDX-License-Identifier: GPL-2.0
//! The duties of process 1, for an image that contains nothing but this
//! program and the modules.

use std::ffi::CString;
use std::{fs, ptr, thread, time};

/// Whether this process is the emulated machine's init.
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Mounts what the tests look at; what is mounted already stays.
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
        // What fails here fails again, and is reported, where it is needed.
        let _ = fs::create_dir_all(at);
        let (kind, at) = (CString::new(kind), CString::new(at));
        if let (Ok(kind), Ok(at)) = (kind, at) {
            // SAFETY: all pointers are to NUL-terminated strings or null.
            unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, ptr::null()) };
        }
    }
}

/// The words after `--` on the kernel's command line. They are in argv, too,
/// but so is every other word that the kernel does not know; and boot loaders
/// add words of theirs, which contain `=`, at the very end.
pub fn arguments() -> Vec<String> {
    let line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let words = line.split_whitespace().skip_while(|&word| word != "--");
    let words = words.skip(1).filter(|word| !word.contains('='));
    words.map(str::to_owned).collect()
}

/// Switches the machine off. The pause lets its serial lines drain.
pub fn power_off() -> ! {
    thread::sleep(time::Duration::from_secs(1));
    loop {
        // SAFETY: ends the machine, which is what is wanted.
        unsafe {
            libc::sync();
            libc::reboot(libc::RB_POWER_OFF);
        }
        thread::sleep(time::Duration::from_secs(1));
    }
}
