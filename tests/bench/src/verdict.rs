// SPDX-License-Identifier: GPL-2.0
//! Verdicts on costs: the targets, and what became dearer.
//!
//! All compare the least costs.

use crate::costs::{Costs, UNPATCHED};

/// What is expected of a setup.
enum Target {
    /// An exit costs at most so much more than with that setup.
    AtMost(f64, &'static str),
    /// It adds at least so many times as much as [`OURS`].
    Times(f64),
}

const OURS: &str = "loaded";
const HISTOGRAMS: &str = "histograms";
/// A program that does less than exitprof's.
const BPF: &str = "bpf";

/// The hook, and nothing that is recorded.
const ABSENT: &str = "absent";

/// A NOP for exits, and one each before the entry and after the exit for phases.
/// [`allowance`] is more.
const TARGETS: [(&str, Target); 2] = [
    (ABSENT, Target::AtMost(3.0, UNPATCHED)),
    ("recording_off", Target::AtMost(3.0, UNPATCHED)),
];

/// The configurations that these are for, besides the others.
const LEAN: [&str; 2] = ["lean", "6.12-lean"];
const LEAN_TARGETS: [(&str, Target); 8] = [
    (OURS, Target::AtMost(40.0, ABSENT)),
    ("per_vcpu", Target::AtMost(44.0, ABSENT)),
    ("histograms", Target::AtMost(54.0, ABSENT)),
    ("phases", Target::AtMost(45.0, HISTOGRAMS)),
    ("details", Target::AtMost(50.0, HISTOGRAMS)),
    ("bpf", Target::Times(8.6)),
    ("exitprof_bpf", Target::AtMost(400.0, BPF)),
    ("trace_both", Target::Times(28.0)),
];

/// What the probe in C adds. It is cheaper on 6.12.
const C_PROBE: [(&str, (&str, Target)); 2] = [
    ("lean", ("c_probe", Target::Times(1.35))),
    ("6.12-lean", ("c_probe", Target::Times(1.2))),
];

/// What gcc compiles. There, CPUID that finds no entry takes a NOP of its own; clang saves
/// as much elsewhere.
const BY_GCC: [&str; 2] = ["6.12-lean", "7.3"];

/// What is less than an instruction, of figures with two digits: batches of 20 EPT
/// violations differ by some instructions of their own.
const FRACTION: f64 = 0.99;

/// What some exits may take more than these limits. Those to userspace: a NOP at each end of
/// KVM_RUN, and one each where the vCPU is loaded and put; or what is done in these places.
/// Details that are not in registers: a VMREAD. EPT violations of ever new pages: two, and each
/// takes another page's entry. By BPF, kvm_exit takes its fields from where KVM has them.
fn allowance(setup: &str, workload: &str) -> f64 {
    match (setup, workload) {
        ("absent" | "recording_off", "out_user" | "hlt_user") => 4.0,
        ("phases", "out_user" | "hlt_user") => 220.0,
        ("details", "out_kernel" | "out_user") => 65.0,
        ("details", "ept_violation") => 240.0,
        ("exitprof_bpf", "out_kernel" | "out_user" | "ept_violation") => 40.0,
        _ => 0.0,
    }
}

/// How much dearer a setup may become.
const SLACK: f64 = 2.0;

pub struct Verdict {
    name: String,
    /// What is bad; nothing if all is well.
    bad: Vec<String>,
    note: String,
}

impl Verdict {
    pub fn is_good(&self) -> bool {
        self.bad.is_empty()
    }

    /// The result with that number, of a test in `group`.
    pub fn ktap(&self, number: u32, group: &str) -> String {
        let name = &self.name;
        if self.is_good() {
            format!("ok {number} {group}.{name} # {}", self.note)
        } else {
            format!("not ok {number} {group}.{name} # {}", self.bad.join("; "))
        }
    }
}

/// Whether the costs of a configuration reach the targets; what was not measured is
/// skipped.
pub fn targets(configuration: &str, costs: &Costs) -> Vec<Verdict> {
    let lean: &[_] = if LEAN.contains(&configuration) {
        &LEAN_TARGETS
    } else {
        &[]
    };
    let probe = C_PROBE.iter().filter(|(name, _)| *name == configuration);
    let all = TARGETS.iter().chain(lean).chain(probe.map(|(_, t)| t));
    let cpuid = if BY_GCC.contains(&configuration) {
        1.0
    } else {
        0.0
    };
    let verdicts = all.map(|(setup, t)| target(costs, setup, t, cpuid));
    verdicts.chain([locked(costs)]).collect()
}

/// Queries of the profiler are not what is compared.
fn is_query(workload: &str) -> bool {
    workload.starts_with("ask_")
}

/// `cpuid` is what CPUID may add to the unpatched KVM besides.
fn target(costs: &Costs, setup: &str, target: &Target, cpuid: f64) -> Verdict {
    let (mut bad, mut worst) = (Vec::new(), None::<f64>);
    for workload in costs.workloads().filter(|w| !is_query(w)) {
        let over = match *target {
            Target::AtMost(_, over) => over,
            Target::Times(_) => UNPATCHED,
        };
        let Some(more) = costs.more_than(workload, setup, over) else {
            continue;
        };
        match *target {
            Target::AtMost(limit, over) => {
                let is_cpuid = (over, workload) == (UNPATCHED, "cpuid");
                let limit = limit + if is_cpuid { cpuid } else { 0.0 } + allowance(setup, workload);
                worst = Some(worst.map_or(more, |w| w.max(more)));
                if more >= limit + FRACTION {
                    bad.push(format!("{workload}: adds {more:.2}, of {limit}"));
                }
            }
            Target::Times(limit) => {
                let ours = costs.more(workload, OURS).unwrap_or(f64::INFINITY);
                let times = more / ours;
                worst = Some(worst.map_or(times, |w| w.min(times)));
                if more < limit * ours {
                    bad.push(format!(
                        "{workload}: adds {more:.2}, ours {ours:.2}: {times:.1} times as much, wanted {limit}"
                    ));
                }
            }
        }
    }
    let note = match (worst, target) {
        (None, _) => "SKIP not measured".into(),
        (Some(worst), Target::AtMost(limit, over)) => {
            format!("adds at most {worst:.2} to {over}, of {limit}")
        }
        (Some(worst), Target::Times(limit)) => {
            format!("adds {worst:.1} times as much as we do, or more; wanted {limit}")
        }
    };
    Verdict {
        name: setup.into(),
        bad,
        note,
    }
}

/// Ours has none. The shared atomics show that they are found.
fn locked(costs: &Costs) -> Verdict {
    let of = |setup| costs.locked.iter().find(|(s, _)| s == setup).map(|l| l.1);
    let what = "locked instructions, each of which writes a shared cache line";
    let (bad, note) = match (of(OURS), of("shared_atomics")) {
        (None, _) => (None, "SKIP not looked for".into()),
        (Some(0), None) => (None, format!("0 {what}")),
        (Some(0), Some(shared @ 1..)) => (None, format!("0 {what}; shared atomics: {shared}")),
        (Some(ours), shared) => (
            Some(format!("{ours} {what}; shared atomics: {shared:?}")),
            String::new(),
        ),
    };
    Verdict {
        name: "locked".into(),
        bad: bad.into_iter().collect(),
        note,
    }
}

/// Whether `costs` are those of `baseline`, within [`SLACK`], or better.
pub fn regression(costs: &Costs, baseline: &Costs) -> Verdict {
    let mut bad = Vec::new();
    let mut compared = 0;
    for old in baseline.costs.iter().filter(|c| c.setup != UNPATCHED) {
        let (workload, setup) = (old.workload.as_str(), old.setup.as_str());
        let was = baseline.more(workload, setup);
        let is = costs.more(workload, setup);
        match (was, is) {
            (Some(was), Some(is)) if is <= was + SLACK => compared += 1,
            (Some(was), Some(is)) => {
                bad.push(format!("{workload} {setup}: adds {is:.2}, was {was:.2}"));
            }
            _ => bad.push(format!("{workload} {setup}: not measured")),
        }
    }
    if compared == 0 {
        bad.push("nothing to compare".into());
    }
    Verdict {
        name: "regression".into(),
        bad,
        note: format!("{compared} costs are within {SLACK} instructions of what they were"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KVM as it is, with a cost that cancels out, and setups that add so much.
    fn costs(more: &[(&str, f64)]) -> Costs {
        costs_of("vmcall", more)
    }

    /// The same of another exit.
    fn costs_of(workload: &str, more: &[(&str, f64)]) -> Costs {
        let mut text = format!("cost {workload} unpatched 1100 1000.25\n");
        for (setup, more) in more {
            text += &format!("cost {workload} {setup} 1900 {}\n", 1000.25 + more);
        }
        Costs::parse(&text).unwrap()
    }

    fn good(costs: &Costs, name: &str) -> bool {
        let verdicts = targets(LEAN[0], costs);
        verdicts.iter().find(|v| v.name == name).unwrap().is_good()
    }

    #[test]
    fn what_we_add_is_limited() {
        for (setup, limit) in [("absent", 3.0), ("recording_off", 3.0)] {
            for (more, expected) in [(-8.0, true), (limit + 0.8, true), (limit + 1.0, false)] {
                assert_eq!(good(&costs(&[(setup, more)]), setup), expected, "{more}");
            }
        }
        for (setup, limit, over) in [
            ("loaded", 40.0, "absent"),
            ("per_vcpu", 44.0, "absent"),
            ("histograms", 54.0, "absent"),
            ("phases", 45.0, "histograms"),
            ("details", 50.0, "histograms"),
            ("exitprof_bpf", 400.0, "bpf"),
        ] {
            for (more, expected) in [(-8.0, true), (limit + 0.8, true), (limit + 1.0, false)] {
                let all = costs(&[(over, -3.0), (setup, more - 3.0)]);
                assert_eq!(good(&all, setup), expected, "{more}");
            }
        }
    }

    #[test]
    fn exits_to_userspace_may_take_more() {
        for (more, expected) in [(7.8, true), (8.0, false)] {
            let costs = costs_of("out_user", &[("absent", more)]);
            assert_eq!(good(&costs, "absent"), expected, "{more}");
            let costs = costs_of("out_kernel", &[("absent", more)]);
            assert!(!good(&costs, "absent"), "{more}");
        }
        for (more, expected) in [(265.0, true), (266.0, false)] {
            let costs = costs_of("hlt_user", &[("histograms", 0.0), ("phases", more)]);
            assert_eq!(good(&costs, "phases"), expected, "{more}");
        }
    }

    #[test]
    fn cpuid_may_take_another_nop_by_gcc() {
        for (name, more, expected) in [
            ("lean", 3.8, true),
            ("lean", 4.0, false),
            ("6.12-lean", 4.8, true),
            ("6.12-lean", 5.0, false),
        ] {
            let costs = costs_of("cpuid", &[("absent", more)]);
            let verdicts = targets(name, &costs);
            assert_eq!(verdicts[0].is_good(), expected, "{name} {more}");
        }
    }

    #[test]
    fn peers_add_many_times_as_much() {
        for (setup, times) in [("c_probe", 1.35), ("bpf", 8.6), ("trace_both", 28.0)] {
            let all = |ours: f64, peer| costs(&[("loaded", ours), (setup, peer)]);
            assert!(good(&all(20.0, 20.0 * times), setup));
            assert!(!good(&all(20.0, 20.0 * times - 1.0), setup));
            assert!(!good(&costs(&[(setup, 9999.0)]), setup));
        }
    }

    #[test]
    fn other_kernels_may_make_recording_dearer() {
        let costs = costs(&[("absent", 0.0), ("loaded", 41.5)]);
        for lean in LEAN {
            assert!(!targets(lean, &costs).iter().all(Verdict::is_good));
        }
        assert!(targets("distro", &costs).iter().all(Verdict::is_good));
    }

    #[test]
    fn what_was_not_measured_is_skipped() {
        for verdict in targets(LEAN[0], &costs(&[])) {
            let line = verdict.ktap(1, "cost");
            assert!(line.contains("# SKIP"), "{line}");
        }
    }

    #[test]
    fn ours_locks_nothing_and_shared_atomics_do() {
        for (ours, shared, expected) in [(0, 2, true), (1, 2, false), (0, 0, false)] {
            let text = format!("locked loaded {ours}\nlocked shared_atomics {shared}\n");
            assert_eq!(good(&Costs::parse(&text).unwrap(), "locked"), expected);
        }
    }

    #[test]
    fn more_than_two_instructions_are_a_regression() {
        let old = costs(&[("loaded", 26.0)]);
        let dearer = |by: f64| regression(&costs(&[("loaded", 26.0 + by)]), &old).is_good();
        assert!(dearer(2.0) && dearer(-5.0) && !dearer(2.01));
        assert!(!regression(&costs(&[("absent", 0.0)]), &old).is_good());
        assert!(!regression(&old, &costs(&[])).is_good());
    }
}
