// SPDX-License-Identifier: GPL-2.0

//! Why this process or this kernel cannot count with BPF, and what to do.

use anyhow::{Error, Result, anyhow, bail};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// Where the kernel has its tracepoints: the loader knows these places only.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// How many of the verifier's last lines are shown.
const LINES: usize = 5;

/// The description of a tracepoint of KVM.
///
/// # Errors
///
/// If it cannot be read.
pub fn format(tracepoint: &str) -> Result<String> {
    for dir in TRACEFS.map(Path::new) {
        match fs::read_dir(dir.join("events")) {
            Ok(_) => return format_in(dir, tracepoint),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => return Err(refused(&e)),
            Err(_) => {}
        }
    }
    bail!(
        "tracefs is not mounted: mount -t tracefs tracefs {}",
        TRACEFS[0]
    )
}

fn format_in(tracefs: &Path, tracepoint: &str) -> Result<String> {
    let dir = tracefs.join("events/kvm").join(tracepoint);
    let path = dir.join("format");
    fs::read_to_string(&path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => anyhow!(
            "KVM is not loaded ({} does not exist): modprobe kvm_intel, or kvm_amd",
            dir.display()
        ),
        ErrorKind::PermissionDenied => refused(&e),
        _ => anyhow!("{}: {e}", path.display()),
    })
}

/// Why the program cannot be loaded or attached.
pub fn explained(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let error = Error::new(error);
    let cause = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    match cause {
        Some(e) if e.kind() == ErrorKind::PermissionDenied => refused(e),
        Some(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
            anyhow!("this kernel has no BPF (CONFIG_BPF_SYSCALL)")
        }
        Some(e) => anyhow!(
            "the kernel does not take the BPF program: {e}{}",
            said(&error)
        ),
        None => error.context("the BPF program cannot be loaded"),
    }
}

/// What the verifier said last.
fn said(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(LINES);
    lines[last..]
        .iter()
        .map(|line| format!("\n  {line}"))
        .collect()
}

fn refused(e: &io::Error) -> Error {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let lockdown = read("/sys/kernel/security/lockdown");
    let paranoid = read("/proc/sys/kernel/perf_event_paranoid");
    let is_root = rustix::process::geteuid().is_root();
    anyhow!("{e}: {}", who_may(&lockdown, paranoid.trim(), is_root))
}

/// Who may count with BPF, by what the kernel says of its lockdown, and of perf.
fn who_may(lockdown: &str, paranoid: &str, is_root: bool) -> String {
    if lockdown.contains("[confidentiality]") {
        return "nobody may, because the kernel is locked down (lockdown=confidentiality)".into();
    }
    // Debian's kernels know 3, with which CAP_PERFMON is not enough.
    let capabilities = match paranoid.parse() {
        Ok(3_i32..) => {
            "CAP_BPF, CAP_PERFMON and, while kernel.perf_event_paranoid is above 2, CAP_SYS_ADMIN"
        }
        _ => "CAP_BPF and CAP_PERFMON",
    };
    match is_root {
        true => format!(
            "this needs the capabilities {capabilities}, which root does not have here (as in a \
             container): run exitprof on the host"
        ),
        false => format!(
            "only root may (sudo exitprof …), or who has the capabilities {capabilities}, and may \
             read tracefs, whatever kernel.unprivileged_bpf_disabled is"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_count_is_told_who_may() {
        let locked = "none integrity [confidentiality]\n";
        assert!(who_may(locked, "2", true).contains("locked down"));
        let open = "none [integrity] confidentiality\n";
        assert!(who_may(open, "2", true).contains("container"));
        assert!(who_may("", "", false).contains("sudo"));
        for (paranoid, is_needed) in [("-1", false), ("2", false), ("3", true)] {
            let said = who_may("", paranoid, false);
            assert_eq!(said.contains("CAP_SYS_ADMIN"), is_needed, "{said}");
        }
    }

    #[test]
    fn a_tracepoint_that_is_missing_is_of_a_kvm_that_is_not_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let error = format_in(dir.path(), "kvm_exit").unwrap_err().to_string();
        assert!(error.contains("modprobe"), "{error}");
    }

    #[test]
    fn errors_of_the_kernel_are_explained() {
        let explain = |number| explained(io::Error::from_raw_os_error(number)).to_string();
        assert!(explain(libc::ENOSYS).contains("CONFIG_BPF_SYSCALL"));
        assert!(explain(libc::EINVAL).contains("Invalid argument"));
    }
}
