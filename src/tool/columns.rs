// SPDX-License-Identifier: GPL-2.0

//! What the columns of all tables are: their names for programs, their headings for people,
//! and what they mean. Options, help, formats and their schema take them from here.

/// What the values of a column are. That decides how each format shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A name.
    Name,
    /// A name that may be long.
    Label,
    /// A number that names something.
    Number,
    /// How many.
    Count,
    /// How many, with its digits in full.
    Whole,
    /// How many in each second, or on average.
    Mean,
    /// A share in percent.
    Percent,
    /// A change in percent.
    Change,
    /// Cycles of the host's TSC.
    Cycles,
    /// A time in the unit that the document names: nanoseconds or cycles.
    Time,
    /// Such a time that is a difference.
    TimeChange,
    /// Seconds.
    Seconds,
    /// A date and time of day, as in RFC 3339.
    Clock,
    /// The buckets of a histogram.
    Buckets,
}

/// A column of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its name in JSON and CSV; empty if it is only for people.
    pub name: &'static str,
    /// Its heading for people.
    pub label: &'static str,
    /// The heading of `perf kvm stat report` for it; empty if perf has no such column.
    pub perf: &'static str,
    /// What the values are.
    pub kind: Kind,
    /// What it means.
    pub help: &'static str,
}

const fn meta(
    name: &'static str,
    label: &'static str,
    perf: &'static str,
    kind: Kind,
    help: &'static str,
) -> Meta {
    Meta {
        name,
        label,
        perf,
        kind,
        help,
    }
}

/// A table of the columns: a constant, its name, heading, perf's heading, kind, and meaning.
macro_rules! columns {
    ($($constant:ident: $name:literal $label:literal $perf:literal $kind:ident $help:literal)*) => {
        $(
            #[doc = $help]
            pub const $constant: Meta = meta($name, $label, $perf, Kind::$kind, $help);
        )*
        /// All of them.
        pub const ALL: &[Meta] = &[$($constant),*];
    };
}

columns! {
    TIME: "time" "" "" Seconds "end of the interval, in seconds since the first one began"
    CLOCK: "clock" "Time" "" Clock "when it was read: date and time of day (UTC)"
    VM: "vm" "VM" "" Name "VM: <pid>-<fd>, as in KVM's debugfs"
    VCPU: "vcpu" "vCPU" "" Number "number of the vCPU in its VM"
    REASON: "reason" "Number" "" Number "number of the exit reason"
    NAME: "name" "Reason" "VM-EXIT" Name "what the row counts: a reason, VM or vCPU"
    EXITS: "exits" "Exits" "Samples" Count "number of exits"
    EXITS_PERCENT: "exits_percent" "Exits%" "Samples%" Percent "share of all exits, in percent"
    CYCLES: "cycles" "Cycles" "" Whole "TSC cycles spent handling the timed exits"
    TIME_PERCENT: "time_percent" "Time%" "Time%" Percent "share of the time of all exits, in percent"
    MIN: "min" "Min" "Min Time" Cycles "cycles of the fastest exit"
    MAX: "max" "Max" "Max Time" Cycles "cycles of the slowest exit"
    AVG: "avg" "Avg" "Avg time" Cycles "average cycles of an exit"
    P50: "p50" "p50" "" Cycles "median of the cycles of an exit"
    P90: "p90" "p90" "" Cycles "90th percentile of the cycles of an exit"
    P99: "p99" "p99" "" Cycles "99th percentile of the cycles of an exit"
    UNTIMED: "untimed" "" "" Count "number of exits that were counted but not timed"
    ID: "id" "" "" Name "identity of the vCPU, which tells vCPUs of the same name apart"
    OWNER: "owner" "VM" "" Name "of rows of two things: the first, such as the VM or vCPU whose exits the row counts"
    VM_NAME: "vm_name" "Name" "" Name "name that QEMU or libvirt gave the VM, or its process's"
    BUCKETS: "buckets" "" "" Buckets "histogram of the cycles of the timed exits"
    ERROR: "error" "Error" "" Count "of rows by detail or code: how many of the others may belong here, too"
    PART: "part" "" "" Name "what the row is: reason, detail; more, for details that are not shown; or others"
    KIND: "kind" "" "" Name "of details: what it is, io, rdmsr, wrmsr and so on"
    KEY: "key" "" "" Name "of details: as the module counts it, in 16 hexadecimal digits"
    LEVEL: "level" "" "" Number "of details and rows by code: 2 if the exits came from nested guests, or else 1"
    NUMBER: "number" "" "" Number "the port, MSR, leaf, register, vector, hypercall, address or APIC register"
    SUBLEAF: "subleaf" "" "" Number "of CPUID leaves that have them: the subleaf"
    ACCESS: "access" "" "" Name "how it was accessed, for example outb, wrmsr, W or MOV to"
    SIZE: "size" "" "" Number "of I/O: the number of bytes"
    RIP: "rip" "" "" Name "of rows by code: the guest's instruction pointer, or its page, in hexadecimal"
    CPL: "cpl" "" "" Number "of rows by code: the guest's privilege level"
    DETAIL: "detail" "" "" Name "what the detail is called, if it has a name"
    LABEL: "label" "Reason" "" Label "the row in words"
    L2: "l2" "L2" "" Count "number of those that came from a nested guest, L2 (of vCPUs that have counters, or have ended)"
    L2_CYCLES: "l2_cycles" "" "" Whole "their cycles"
    REFLECTED: "reflected" "Reflected" "" Count "number of those of L2 that KVM gave to the hypervisor in L1"
    REFLECTED_CYCLES: "reflected_cycles" "" "" Whole "their cycles"
    SPENT: "spent" "Time" "" Cycles "cycles of the vCPU's time that exits of the reason led to"
    SPENT_PERCENT: "spent_percent" "Time%" "" Percent "share of the time of all vCPUs, in percent"
    EXIT_PATH: "exit_path" "Path" "" Whole "cycles from the exit to the handler"
    HANDLER: "handler" "Handler" "" Whole "cycles in the handler, while it was not switched out"
    RUN_LOOP: "run_loop" "Loop" "" Whole "cycles from the handler to the entry, and to and from userspace"
    USERSPACE: "userspace" "User" "" Whole "cycles in userspace"
    POLLING: "polling" "Poll" "" Whole "cycles halted, while the vCPU's task polled"
    HALTED: "halted" "Halt" "" Whole "cycles halted, while the vCPU's task slept"
    PREEMPTED: "preempted" "Preempt" "" Whole "cycles switched out, though the vCPU's task could run"
    SLEEPING: "sleeping" "Sleep" "" Whole "cycles switched out, because the vCPU's task waited"
    GUEST: "guest" "Guest" "" Whole "cycles in the guest, of all selected vCPUs"
    ELAPSED: "elapsed" "" "" Whole "cycles of all selected vCPUs: those in the guest and in all phases"
    PHASE: "phase" "Phase" "" Name "with --phases: the phase, or guest"
    STATUS: "status" "Status" "" Name "whether the CPU defines the reason, and KVM handles it"
    WHOLE_EXITS: "exits" "Exits" "" Whole "number of exits"
    RATE: "exits_per_second" "Exits/s" "" Mean "exits in a second, or with --phases in that of a vCPU"
    DIFF_PERCENT: "time_percent" "Time%" "" Percent "share of the time of all exits, or with --phases of all vCPUs"
    DIFF_AVG: "avg" "Avg" "" Time "average time of an exit, or with --phases in the phase after it"
    DIFF_TIME: "time" "Time" "" Time "time of all exits; of a second, or with --phases of a vCPU's, if comparable"
    EXITS_MEAN: "exits_mean" "Mean" "" Mean "number of exits in a run, on average"
    EXITS_DEVIATION: "exits_deviation" "" "" Mean "standard deviation of the exits"
    CYCLES_MEAN: "cycles_mean" "Mean" "" Cycles "cycles of the timed exits in a run, on average"
    CYCLES_DEVIATION: "cycles_deviation" "" "" Cycles "standard deviation of the cycles"
    AVG_MEAN: "avg_mean" "Mean" "" Cycles "average cycles of an exit, on average over runs"
    AVG_DEVIATION: "avg_deviation" "" "" Cycles "standard deviation of that"
    EXITS_CHANGE: "exits_change" "Change" "" Change "change of the exits, in percent of the first file's"
    AVG_CHANGE: "avg_change" "Change" "" Change "change of the average time, in percent"
    BASELINE_RATE: "baseline" "Normal" "" Mean "exits per second in the baseline"
    NOISE_RATE: "noise" "" "" Mean "noise of that"
    LIMIT_RATE: "limit" "Limit" "" Mean "highest number of exits per second that is normal"
    NOW_RATE: "now" "Now" "" Mean "exits per second now"
    BASELINE_TIME: "baseline" "Normal" "" Time "time in the baseline"
    NOISE_TIME: "noise" "" "" Time "noise of that"
    LIMIT_TIME: "limit" "Limit" "" Time "longest time that is normal"
    NOW_TIME: "now" "Now" "" Time "time now"
    VERDICT: "verdict" "" "" Name "whether that is normal: above, normal, or below"
    TIME_CHANGE: "time_change" "Time +-" "" TimeChange "change of the time"
}
