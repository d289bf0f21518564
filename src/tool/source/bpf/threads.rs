// SPDX-License-Identifier: GPL-2.0

//! Which threads there are.

use std::{io, os::linux::fs::MetadataExt, sync::LazyLock};

/// The inode of the PID namespace in which the program sees threads: `PROC_PID_INIT_INO` in
/// include/linux/proc_ns.h.
const INITIAL: u64 = 0xEFFF_FFFC;

/// Whether numbers of threads mean the same to this process and to the program, as far as is known:
/// a kernel without PID namespaces does not say.
static SEES_ALL: LazyLock<bool> = LazyLock::new(|| {
    let namespace = std::fs::metadata("/proc/self/ns/pid");
    namespace.is_ok_and(|namespace| namespace.st_ino() == INITIAL)
});

/// Whether there is no such thread, which has its process in the upper half. Whoever does not see
/// all threads, does not know, and says no.
pub fn is_gone(thread: u64) -> bool {
    *SEES_ALL && is_missing(thread)
}

fn is_missing(thread: u64) -> bool {
    const NO_SIGNAL: libc::c_int = 0;
    let [process, thread] = [thread >> 32, thread & 0xffff_ffff].map(|id| id as libc::pid_t);
    // SAFETY: No signal is sent: the kernel only looks for the thread.
    let found = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, NO_SIGNAL) };
    found != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn threads_are_there_until_they_end() {
        let process = u64::from(std::process::id()) << 32;
        let tid = || rustix::thread::gettid().as_raw_nonzero().get() as u64;
        assert!(!is_missing(process | tid()));
        // Another process has no such thread.
        assert!(is_missing(1 << 32 | tid()));
        let ended = thread::spawn(move || process | tid()).join().unwrap();
        while !is_missing(ended) {
            thread::yield_now();
        }
    }
}
