// SPDX-License-Identifier: GPL-2.0

//! Complaints in a kernel's log. All tests use this list.

/// What a kernel's log does not contain while all is well.
const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    // SLUB has no colon there.
    "BUG ",
    "Oops",
    "INFO: ",
    "possible circular",
    "possible recursive",
    "inconsistent lock",
    "suspicious RCU",
    "rcu: INFO",
    "general protection",
    "nable to handle",
    "Kernel panic",
    "Call Trace",
    "refcount_t",
    "unexpected exit reason",
    "scheduling while atomic",
    "sleeping function",
    "in preemptible",
    "KASAN:",
    "UBSAN:",
    "ODEBUG:",
    "pagealloc:",
    "kmemleak:",
    // A detector that has given up.
    "Disabling lock debugging",
    "locking correctness validator",
];

/// What some of these say when all is well.
const GREETINGS: &[&str] = &["kmemleak: Kernel memory leak detector initialized"];

/// Functions of ours. KVM has data races of its own, which KCSAN reports as well.
const OURS: &[&str] = &[
    "exitprof",
    "exit_profiler",
    "exit_recording",
    "record_exit",
    "record_untimed",
    "exit_samples",
    "take_profile",
    "attach_all",
    "detach_all",
];

/// Whether a line of a kernel's log says that something is wrong.
pub fn is_complaint(line: &str) -> bool {
    let holds = |part: &&str| line.contains(part);
    if line.contains("KCSAN:") {
        return OURS.iter().any(holds);
    }
    COMPLAINTS.iter().any(holds) && !GREETINGS.iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_found() {
        for line in [
            "WARNING: CPU: 0 PID: 1 at kernel/rcu/tree.c:1 x+0x1/0x2",
            "WARNING: possible circular locking dependency detected",
            "BUG: kernel NULL pointer dereference, address: 0000000000000000",
            "BUG kmalloc-64 (Not tainted): Redzone overwritten",
            "INFO: task e2e:1 blocked for more than 240 seconds.",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "general protection fault, probably for non-canonical address",
            "Unable to handle kernel paging request",
            " Call Trace:",
            "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "Disabling lock debugging due to kernel taint",
            "BUG: KCSAN: data-race in kvm_record_exit / vcpu_enter_guest",
        ] {
            assert!(is_complaint(line), "{line}");
        }
    }

    #[test]
    fn what_a_kernel_says_of_itself_is_none() {
        for line in [
            "Linux version 6.1.192 (root@host) (Debian clang version 14.0.6)",
            "kvm_exitprof: loaded: answering CPUID 0x4fffff00-0x4fffffff",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 1)",
            "BUG: KCSAN: data-race in kvm_mmu_load / kvm_vcpu_kick",
            "",
        ] {
            assert!(!is_complaint(line), "{line}");
        }
    }
}
